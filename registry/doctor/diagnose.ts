import { Refusal } from '../../base/refusal.ts';
import { createBuiltinEngine } from '../builtin/engine.ts';
import { Schemes, speaksTls } from '../builtin/transport/schemes.ts';
import { type Contact, Transport } from '../builtin/transport/transport.ts';
import { CredentialsSource } from '../credentials/credentialsSource.ts';
import type { Engine } from '../engine.ts';
import { RegistryNotFound, RegistryProtocol, RegistryProxy, RegistryRedirect, RegistryRefusal } from '../errors.ts';
import { Mirrors } from '../fallback/mirrors.ts';
import { bareHost, endpointOf, includesHost, isLoopback } from '../hosts/hosts.ts';
import { proxyFor } from '../hosts/proxy.ts';
import type { Descriptor } from '../image.ts';
import { fetchImage } from '../images/fetchImage.ts';
import { formatReference, type Reference } from '../reference.ts';
import type { RegistryOptions } from '../registry.ts';
import { type ApiReply, askApi, fetchToken } from './apiProbes.ts';
import { type Connection, probeDns, probeTcp, probeTls } from './connectionProbes.ts';
import {
  type Diagnosis,
  type DoctorTarget,
  HostLedger,
  NOT_TRIED,
  type Step,
  type StepName,
  type TargetDiagnosis,
} from './diagnosis.ts';

export { readOrasVersion } from '../oras/process.ts';
export type { Diagnosis, DoctorTarget, HostEntry, Step, TargetDiagnosis } from './diagnosis.ts';
export { NOT_TRIED } from './diagnosis.ts';

const TIMEOUT_MS = 10_000;
/** A smaller clock error rarely invalidates certificates or tokens. */
const MOST_CLOCK_MS = 300_000;
const STEPS = ['dns', 'tcp', 'tls', 'api', 'clock', 'token', 'manifest', 'blob'] as const;

/**
 * Takes the steps of a sync to each target, one after the other, and reports what each step found. Nothing is kept; of a blob
 * one byte is requested. A step that fails is part of the result. Timeout at most 10 s, one retry. @throws the signal's reason
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

/** The finding of a step, and its value for the next step. */
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
    const found = proxy === undefined ? 'none: a direct connection' : `${proxy.protocol}//${proxy.host}`;
    return { found, value: { url, proxy, timeoutMs, signal: this.#signal } };
  }

  async #isConnected(at: Connection): Promise<boolean> {
    if ((await this.#step('dns', () => probeDns(at).then(finding))) === undefined) return false;
    if ((await this.#step('tcp', () => probeTcp(at).then(finding))) === undefined) return false;
    if (at.url.protocol === 'https:')
      return (await this.#step('tls', () => probeTls(at, this.#options).then(finding))) !== undefined;
    this.#add('tls', 'skipped', 'plain http');
    return true;
  }

  /** The steps over HTTP. */
  async #ask(url: URL): Promise<void> {
    const { registry, reference } = this.#target;
    const transport = new Transport({ ...this.#options, onContact: it => this.#ledger.contacted(it, 'token server') });
    try {
      const api = await this.#askApi(transport, url, registry);
      if (api === undefined) return;
      this.#checkClock(api);
      if (reference === undefined)
        for (const step of ['token', 'manifest', 'blob'] as const) this.#add(step, 'skipped', 'no image was named');
      if (reference === undefined || !(await this.#hasToken(transport, api, reference))) return;
    } finally {
      await transport.close();
    }
    await this.#getImage(reference);
  }

  /** Returns undefined if the next steps are pointless. */
  async #askApi(transport: Transport, url: URL, registry: string): Promise<ApiReply | undefined> {
    let without: string | undefined;
    const api = await this.#step('api', async () => {
      try {
        return await askApi(transport, url, registry, this.#signal);
      } catch (error) {
        this.#signal.throwIfAborted();
        if (!(error instanceof RegistryRefusal)) throw error;
        if (url.protocol === 'http:')
          await new Schemes(this.#options.plainHttp ?? false).switchToTls(url.host, error, this.#signal);
        // A sync never requests /v2/, and some gateways in front of registries allow only images.
        const isOdd = error instanceof RegistryRedirect || (error instanceof RegistryProtocol && error.status === 404);
        if (!isOdd || this.#target.reference === undefined) throw error;
        without = error.message;
        return undefined;
      }
    });
    if (without === undefined) return api;
    this.#add('api', 'skipped', `${without}; the image is requested anyway`);
    return { url, challenge: undefined, clockAheadMs: undefined };
  }

  #checkClock({ clockAheadMs }: ApiReply): void {
    if (clockAheadMs === undefined) this.#add('clock', 'skipped', 'the registry sends no Date header');
    else if (Math.abs(clockAheadMs) < MOST_CLOCK_MS) this.#add('clock', 'ok', 'the same as the registry’s');
    else {
      const minutes = Math.round(Math.abs(clockAheadMs) / 60_000);
      const direction = clockAheadMs > 0 ? 'ahead of' : 'behind';
      this.#steps.push({
        step: 'clock',
        status: 'failed',
        found: `This machine's clock is ${minutes} minutes ${direction} the registry's`,
        hint: 'Set the clock: certificates, tokens and signed URLs are valid only for a time.',
      });
    }
  }

  async #hasToken(transport: Transport, { challenge, url }: ApiReply, reference: Reference): Promise<boolean> {
    if (challenge === undefined) {
      this.#add('token', 'skipped', 'the registry asks for none');
      return true;
    }
    const credentials = new CredentialsSource(this.#options);
    const fetching = (): Promise<Result<true>> =>
      fetchToken(transport, challenge, { api: url, reference, credentials }, this.#signal).then(finding);
    return (await this.#step('token', fetching)) !== undefined;
  }

  async #getImage(reference: Reference): Promise<void> {
    let last: URL | undefined;
    const onContact = (it: Contact): void => {
      last = it.url;
      this.#ledger.contacted(it, 'blob storage');
    };
    const engine = createBuiltinEngine({ ...this.#options, onContact });
    try {
      const image = await this.#step('manifest', async () => {
        const source = { engine, mirrors: new Mirrors(), platform: this.#options.platform };
        const value = await fetchImage(source, reference, this.#signal);
        return { found: `${formatReference(reference)} is ${value.digest}`, value };
      });
      if (image === undefined) return;
      const [layer] = [...image.manifest.layers].sort((one, other) => other.size - one.size);
      if (layer === undefined) return this.#add('blob', 'skipped', 'the image has no layers');
      await this.#step('blob', async () => {
        const ranges = await readLastByte(engine, reference, layer, this.#signal);
        return finding(`${ranges}, from ${last?.host ?? reference.registry}`);
      });
    } finally {
      await engine.close();
    }
  }

  /** Takes a step and returns its value; undefined if it failed or does not apply. */
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
        this.#ledger.refused(proxy);
      const isMissing = step === 'manifest' && error instanceof RegistryNotFound && this.#target.role === 'mirror';
      if (isMissing) this.#add(step, 'skipped', `${error.message}; the next host is asked for it`);
      else
        this.#steps.push({
          step,
          status: 'failed',
          found: wordsOf(error),
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

function finding(found: string): Result<true> {
  return { found, value: true };
}

/** Requests only the last byte, which shows the storage host and whether it supports ranges. */
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
    return offset === start ? 'one byte, by range' : 'bytes, but no range: an interrupted download starts again';
  } finally {
    body.on('error', () => {}).destroy();
  }
}

/** Without a reply, `found` may have what became of each address, or the certificate. */
function wordsOf(error: Refusal): string {
  const { message, found, registrySaid } = error;
  const hasReply = error instanceof RegistryRefusal && error.status !== undefined;
  const more = !hasReply && found?.includes(' ') ? ` (${found})` : '';
  return `${message}${more}${registrySaid === undefined ? '' : `; it answered “${registrySaid}”`}`;
}

function codeOf(error: Refusal): string {
  return (error as Refusal & { readonly code: string }).code;
}
