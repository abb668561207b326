import { Refusal } from '../../base/refusal.ts';
import { createBuiltinEngine } from '../builtin/engine.ts';
import { Schemes, speaksTls } from '../builtin/transport/schemes.ts';
import { type Exchanged, Transport } from '../builtin/transport/transport.ts';
import { CredentialsSource } from '../credentials/credentialsSource.ts';
import type { Engine } from '../engine.ts';
import { RegistryNotFound, RegistryProtocol, RegistryProxy, RegistryRedirect, RegistryRefusal } from '../errors.ts';
import { Places } from '../fallback/mirrors.ts';
import { bareHost, endpointOf, includesHost, isLoopback } from '../hosts/hosts.ts';
import { proxyFor } from '../hosts/proxy.ts';
import type { Descriptor } from '../image.ts';
import { fetchImage } from '../images/fetchImage.ts';
import { formatReference, type Reference } from '../reference.ts';
import type { RegistryOptions } from '../registry.ts';
import { askApi, type Door, fetchToken } from './apiProbes.ts';
import { type Connection, probeDns, probeTcp, probeTls } from './connectionProbes.ts';
import {
  type Diagnosis,
  type DoctorTarget,
  NOT_TRIED,
  type Step,
  type StepName,
  type TargetDiagnosis,
} from './diagnosis.ts';
import { HostLedger } from './hostLedger.ts';

export { readOrasVersion } from '../oras/version.ts';
export type { Diagnosis, DoctorTarget, HostEntry, Step, TargetDiagnosis } from './diagnosis.ts';
export { NOT_TRIED } from './diagnosis.ts';

const TIMEOUT_MS = 10_000;
/** Certificates and tokens are rarely good for less than this. */
const MOST_CLOCK_MS = 300_000;
const STEPS = ['dns', 'tcp', 'tls', 'api', 'clock', 'token', 'manifest', 'blob'] as const;

/**
 * Goes the way of a sync to each target, one step after the other, and tells what each step found. Nothing is kept, and of
 * a blob one byte is asked for. Never rejects for what a step meets. @throws the signal's reason
 */
export async function diagnose(
  targets: readonly DoctorTarget[],
  options: RegistryOptions,
  signal: AbortSignal,
): Promise<Diagnosis> {
  const ledger = new HostLedger();
  const diagnoses: TargetDiagnosis[] = [];
  for (const target of targets) diagnoses.push(await new Visit(target, options, ledger, signal).go());
  return { targets: diagnoses, hosts: ledger.entries };
}

/** What a step found, and what the next one needs of it. */
interface Result<T> {
  readonly found: string;
  readonly value: T;
}

class Visit {
  readonly #target: DoctorTarget;
  readonly #options: RegistryOptions & { readonly timeoutMs: number };
  readonly #ledger: HostLedger;
  readonly #signal: AbortSignal;
  readonly #steps: Step[] = [];
  #proxy: URL | undefined;

  constructor(target: DoctorTarget, options: RegistryOptions, ledger: HostLedger, signal: AbortSignal) {
    this.#target = target;
    this.#options = { ...options, timeoutMs: Math.min(options.timeoutMs ?? TIMEOUT_MS, TIMEOUT_MS), retries: 1 };
    this.#ledger = ledger;
    this.#signal = signal;
  }

  async go(): Promise<TargetDiagnosis> {
    const url = await this.#urlOf();
    const at = await this.#step('proxy', async () => this.#connect(url));
    if (at !== undefined && (await this.#isConnected(at))) await this.#ask(url);
    for (const step of STEPS) if (!this.#steps.some(it => it.step === step)) this.#add(step, 'skipped', NOT_TRIED);
    return { ...this.#target, steps: this.#steps };
  }

  async #urlOf(): Promise<URL> {
    const { host } = endpointOf(this.#target.registry, '');
    const { hostname, port } = new URL(`http://${host}`);
    const isPlain =
      includesHost(this.#options.plainHttp, host, 'http') ||
      (isLoopback(hostname) && !(await speaksTls(bareHost(hostname), Number(port || 80), this.#signal)));
    return new URL(`${isPlain ? 'http' : 'https'}://${host}/v2/`);
  }

  #connect(url: URL): Result<Connection> {
    const { env = {}, timeoutMs } = this.#options;
    let proxy: URL | undefined;
    try {
      proxy = proxyFor(url, env);
    } finally {
      this.#proxy = proxy;
      this.#ledger.expect(url, proxy, this.#target.role);
    }
    const found = proxy === undefined ? 'none: straight to the registry' : `${proxy.protocol}//${proxy.host}`;
    return { found, value: { url, proxy, timeoutMs, signal: this.#signal } };
  }

  async #isConnected(at: Connection): Promise<boolean> {
    if ((await this.#step('dns', () => probeDns(at).then(told))) === undefined) return false;
    if ((await this.#step('tcp', () => probeTcp(at).then(told))) === undefined) return false;
    if (at.url.protocol === 'https:')
      return (await this.#step('tls', () => probeTls(at, this.#options).then(told))) !== undefined;
    this.#add('tls', 'skipped', 'plain http');
    return true;
  }

  /** All that is asked over HTTP. */
  async #ask(url: URL): Promise<void> {
    const { registry, reference } = this.#target;
    const transport = new Transport({ ...this.#options, onExchange: it => this.#ledger.hear(it, 'token server') });
    try {
      const door = await this.#knock(transport, url, registry);
      if (door === undefined) return;
      this.#tellClock(door);
      if (reference === undefined)
        for (const step of ['token', 'manifest', 'blob'] as const) this.#add(step, 'skipped', 'no image was named');
      if (reference === undefined || !(await this.#hasToken(transport, door, reference))) return;
    } finally {
      await transport.close();
    }
    await this.#getImage(reference);
  }

  /** Undefined if there is no use in going on. */
  async #knock(transport: Transport, url: URL, registry: string): Promise<Door | undefined> {
    let without: string | undefined;
    const door = await this.#step('api', async () => {
      try {
        return await askApi(transport, url, registry, this.#signal);
      } catch (error) {
        this.#signal.throwIfAborted();
        if (!(error instanceof RegistryRefusal)) throw error;
        if (url.protocol === 'http:')
          await new Schemes(this.#options.plainHttp ?? false).mend(url.host, error, this.#signal);
        // A sync never asks for /v2/, and some that stand before a registry let nothing but images through.
        const isOdd = error instanceof RegistryRedirect || (error instanceof RegistryProtocol && error.status === 404);
        if (!isOdd || this.#target.reference === undefined) throw error;
        without = error.message;
        return undefined;
      }
    });
    if (without === undefined) return door;
    this.#add('api', 'skipped', `${without}; the image is asked for all the same`);
    return { url, challenge: undefined, clockAheadMs: undefined };
  }

  #tellClock({ clockAheadMs }: Door): void {
    if (clockAheadMs === undefined) this.#add('clock', 'skipped', 'the registry does not tell its time');
    else if (Math.abs(clockAheadMs) < MOST_CLOCK_MS) this.#add('clock', 'ok', 'the same as the registry’s');
    else {
      const minutes = Math.round(Math.abs(clockAheadMs) / 60_000);
      const direction = clockAheadMs > 0 ? 'ahead of' : 'behind';
      this.#steps.push({
        step: 'clock',
        status: 'failed',
        found: `This machine's clock is ${minutes} minutes ${direction} the registry's`,
        hint: 'Set the clock right: certificates, tokens and signed addresses are only good at their time.',
      });
    }
  }

  async #hasToken(transport: Transport, { challenge, url }: Door, reference: Reference): Promise<boolean> {
    if (challenge === undefined) {
      this.#add('token', 'skipped', 'none is asked for');
      return true;
    }
    const credentials = new CredentialsSource(this.#options);
    const fetching = (): Promise<Result<true>> =>
      fetchToken(transport, challenge, { api: url, reference, credentials }, this.#signal).then(told);
    return (await this.#step('token', fetching)) !== undefined;
  }

  async #getImage(reference: Reference): Promise<void> {
    let last: URL | undefined;
    const onExchange = (it: Exchanged): void => {
      last = it.url;
      this.#ledger.hear(it, 'blob storage');
    };
    const engine = createBuiltinEngine({ ...this.#options, onExchange });
    try {
      const image = await this.#step('manifest', async () => {
        const source = { engine, places: new Places(), platform: this.#options.platform };
        const value = await fetchImage(source, reference, this.#signal);
        return { found: `${formatReference(reference)} is ${value.digest}`, value };
      });
      if (image === undefined) return;
      const [layer] = [...image.manifest.layers].sort((one, other) => other.size - one.size);
      if (layer === undefined) return this.#add('blob', 'skipped', 'the image has no layers');
      await this.#step('blob', async () => {
        const ranges = await readLastByte(engine, reference, layer, this.#signal);
        return told(`${ranges}, from ${last?.host ?? reference.registry}`);
      });
    } finally {
      await engine.close();
    }
  }

  /** Takes a step; what it needs for the next, or undefined if it failed or found nothing to tell. */
  async #step<T>(step: StepName, take: () => Promise<Result<T> | undefined>): Promise<T | undefined> {
    try {
      const result = await take();
      if (result === undefined) return undefined;
      this.#add(step, 'ok', result.found);
      return result.value;
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!(error instanceof Refusal)) throw error;
      const proxy = this.#proxy;
      if (error instanceof RegistryProxy && error.status !== undefined && proxy !== undefined)
        this.#ledger.refuse(proxy);
      const isMissing = step === 'manifest' && error instanceof RegistryNotFound && this.#target.role === 'mirror';
      if (isMissing) this.#add(step, 'skipped', `${error.message}; the next place is asked for it`);
      else
        this.#steps.push({
          step,
          status: 'failed',
          found: wordsOf(error, step),
          hint: error.hint,
          code: codeOf(error),
        });
      return undefined;
    }
  }

  #add(step: StepName, status: 'ok' | 'skipped', found: string): void {
    this.#steps.push({ step, status, found });
  }
}

function told(found: string): Result<true> {
  return { found, value: true };
}

/** Asks for the last byte alone: enough to know the storage and whether it honours ranges. */
async function readLastByte(engine: Engine, at: Reference, layer: Descriptor, signal: AbortSignal): Promise<string> {
  const start = Math.max(0, layer.size - 1);
  const { offset, body } = await engine.fetchBlob(at, layer, start, signal);
  try {
    let receivedBytes = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      receivedBytes += chunk.length;
      break;
    }
    if (receivedBytes === 0) return 'an empty layer';
    return offset === start ? 'one byte, by range' : 'bytes, but no range: a broken download starts over';
  } finally {
    body.on('error', () => {}).destroy();
  }
}

function wordsOf({ message, found, registrySaid }: Refusal, step: StepName): string {
  const certificate = step === 'tls' && found?.includes(' ') ? ` (${found})` : '';
  return `${message}${certificate}${registrySaid === undefined ? '' : `; it said “${registrySaid}”`}`;
}

function codeOf(error: Refusal): string {
  return (error as Refusal & { readonly code: string }).code;
}
