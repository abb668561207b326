import { createReadStream } from 'node:fs';
import { mkdtemp, rm, stat, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlobBody, Engine, RawManifest } from '../engine.ts';
import { RegistryDenied, RegistryNotFound, RegistryProtocol } from '../errors.ts';
import { endpointOf, includesHost, isDockerHub, isLoopback } from '../hosts/hosts.ts';
import { retrying } from '../hosts/retrying.ts';
import type { Descriptor } from '../image.ts';
import { digestOf } from '../images/digestOf.ts';
import { parseManifest } from '../images/parseManifest.ts';
import { parseDiscovered } from '../images/referrers.ts';
import { type Digest, formatReference, isDigest, type Reference } from '../reference.ts';
import type { RegistryOptions, Traffic } from '../registry.ts';
import { OrasCredentials } from './credentials.ts';
import { HostFlags } from './hostFlags.ts';
import { type OrasCall, type OrasResult, runOras } from './process.ts';
import { refusalOf } from './refusal.ts';
import { readOrasVersion } from './version.ts';

const TIMEOUT_MS = 30_000;
const RETRIES = 5;
const BACKOFF_MS = 500;
const READ_BYTES = 512 * 1024;

/**
 * An engine over the ORAS CLI: a process per question. ORAS repeats requests that were answered with 408, 429 or 5xx;
 * connections that break are repeated here. It cannot resume: a blob comes whole, into a temporary file.
 * @throws OrasMissing, OrasTooOld, RegistryOptionsInvalid
 */
export async function createOrasEngine(options: RegistryOptions): Promise<Engine> {
  await readOrasVersion(options, new AbortController().signal);
  const dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-oras-')); // made with mode 0700
  try {
    const flags = new HostFlags(options, dir);
    // Files that cannot be used are told now, not once for every image.
    await flags.of('');
    return new OrasEngine(options, dir, flags);
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw error;
  }
}

class OrasEngine implements Engine {
  readonly #options: RegistryOptions;
  readonly #dir: string;
  readonly #flags: HostFlags;
  readonly #credentials: OrasCredentials;
  readonly #loopbackTls = new Set<string>();
  readonly #traffic = { requests: 0, bytesDownloaded: 0 };
  #serial = 0;

  constructor(options: RegistryOptions, dir: string, flags: HostFlags) {
    this.#options = options;
    this.#dir = dir;
    this.#flags = flags;
    this.#credentials = new OrasCredentials(options, dir);
  }

  get traffic(): Traffic {
    return this.#traffic;
  }

  async resolve(reference: Reference, signal: AbortSignal): Promise<Digest> {
    try {
      const { stdout } = await this.#ask(['resolve'], nameOf(reference), reference, 'unknown', signal);
      const digest = stdout.toString('utf8').trim();
      if (isDigest(digest)) return digest;
      throw garbled(formatReference(reference), 'a digest');
    } catch (error) {
      // Registries may leave the digest out of their answer to HEAD, ORAS then gives up: the manifest itself tells.
      if (!(error instanceof RegistryProtocol)) throw error;
      const { bytes, mediaType, digest } = await this.fetchManifest(reference, signal);
      parseManifest(bytes, mediaType, formatReference(reference));
      return digest;
    }
  }

  async fetchManifest(reference: Reference, signal: AbortSignal): Promise<RawManifest> {
    const name = nameOf(reference);
    try {
      const args = ['manifest', 'fetch', '--output', '-'];
      const { stdout } = await this.#ask(args, name, reference, 'manifest', signal);
      const digest = digestOf(stdout, reference.digest);
      return { bytes: stdout, mediaType: mediaTypeIn(stdout), digest };
    } catch (error) {
      // "denied" comes with 401 and with 403, and only an answer without a body has ORAS tell the status.
      if (error instanceof RegistryDenied && error.status === undefined)
        await this.#ask(['resolve'], name, reference, 'manifest', signal);
      throw error;
    }
  }

  async fetchBlob(
    reference: Reference,
    descriptor: Descriptor,
    offset: number,
    signal: AbortSignal,
  ): Promise<BlobBody> {
    const path = join(this.#dir, `blob-${this.#serial++}`);
    try {
      const name = nameOf({ ...reference, digest: descriptor.digest });
      const args = ['blob', 'fetch', '--no-tty', '--output', path];
      await this.#ask(args, name, reference, 'blob', signal, { growing: path });
      const body = createReadStream(path, { start: offset, highWaterMark: READ_BYTES });
      await new Promise((resolve, reject) => body.once('open', resolve).once('error', reject));
      return { offset, body };
    } finally {
      // What has come, whether it was what the manifest promised or not.
      const come = await stat(path).catch(() => undefined);
      this.#traffic.bytesDownloaded += come?.size ?? 0;
      // Once it is open its name is not needed; if it failed, what ORAS left of it is not either.
      await unlink(path).catch(() => {});
    }
  }

  async listTags(reference: Reference, signal: AbortSignal): Promise<string[]> {
    const { registry, repository } = reference;
    const { stdout } = await this.#ask(
      ['repo', 'tags'],
      nameOf({ registry, repository }),
      reference,
      'repository',
      signal,
      { judge: endlessness(reference, this.#options.timeoutMs ?? TIMEOUT_MS) },
    );
    return stdout
      .toString('utf8')
      .split('\n')
      .map(line => line.trim())
      .filter(line => line !== '');
  }

  /** ORAS asks the API and falls back to the tag by itself. */
  async listReferrers(reference: Reference, digest: Digest, signal: AbortSignal): Promise<Descriptor[]> {
    const { registry, repository } = reference;
    const exact = { registry, repository, digest };
    let output: string;
    try {
      const args = ['discover', '--format', 'json', '--depth', '1'];
      const { stdout } = await this.#ask(args, nameOf(exact), exact, 'manifest', signal);
      output = stdout.toString('utf8');
    } catch (error) {
      if (error instanceof RegistryNotFound) return [];
      throw error;
    }
    try {
      return [...parseDiscovered(output, formatReference(exact))];
    } catch {
      throw garbled(formatReference(exact), 'a JSON list of referrers');
    }
  }

  async close(): Promise<void> {
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #ask(
    command: readonly string[],
    name: string,
    reference: Reference,
    missing: RegistryNotFound['missing'],
    signal: AbortSignal,
    watching: Pick<OrasCall, 'growing' | 'judge'> = {},
  ): Promise<OrasResult> {
    const { env = {}, timeoutMs = TIMEOUT_MS, retries = RETRIES, onEvent } = this.#options;
    const subject = formatReference(reference);
    const config = await this.#credentials.fileFor(reference.registry, reference.repository, signal);
    const flags = await this.#flags.of(reference.registry);
    const run = (plain: boolean) => {
      this.#traffic.requests++;
      const scheme = plain ? ['--plain-http'] : ['--plain-http=false'];
      const args = [...command, '--registry-config', config, ...flags, ...scheme, name];
      return runOras({ args, env, signal, timeoutMs, subject, ...watching });
    };
    return retrying(
      async () => {
        const result = await this.#overItsScheme(reference.registry, run);
        if (result.failed) throw refusalOf(result.stderr, subject, missing);
        return result;
      },
      {
        retries,
        backoffMs: BACKOFF_MS,
        onRetry: (attempt, delayMs, { message }) =>
          onEvent?.({ type: 'retry', subject, attempt, delayMs, reason: message }),
      },
      signal,
    );
  }

  /** Loopback is asked over http by itself, and over https where that turns out to be what the port speaks. */
  async #overItsScheme(registry: string, run: (plain: boolean) => Promise<OrasResult>): Promise<OrasResult> {
    if (includesHost(this.#options.plainHttp, registry, 'http')) return run(true);
    if (!isLoopback(hostnameOf(registry)) || this.#loopbackTls.has(registry)) return run(false);
    const plain = await run(true);
    if (!plain.failed || !/status code 400|malformed http|http request to an https|\beof\b|reset/i.test(plain.stderr))
      return plain;
    const secure = await run(false);
    // What no web server said tells nothing of the port; an answer, or a certificate, tells that it speaks TLS.
    const isMute = /http response to https|first record does not look like|\beof\b|refused|reset|timeout|deadline/i;
    if (secure.failed && isMute.test(secure.stderr)) return plain;
    this.#loopbackTls.add(registry);
    return secure;
  }
}

/** As ORAS takes it: the digest alone where there is one; Docker Hub's own images with their full name. */
function nameOf(reference: Omit<Reference, 'tag' | 'digest'> & Pick<Reference, 'tag' | 'digest'>): string {
  const { tag, digest } = reference;
  const registry = isDockerHub(reference.registry) ? 'docker.io' : reference.registry;
  const { repository } = endpointOf(reference.registry, reference.repository);
  const which = digest !== undefined ? `@${digest}` : tag !== undefined ? `:${tag}` : '';
  return `${registry}/${repository}${which}`;
}

function hostnameOf(registry: string): string {
  return registry.replace(/:\d+$/, '');
}

/** Of one repository; ten times what the largest known have. */
const MOST_TAGS = 100_000;
/** How many times over a list may name its tags, pages that overlap included, before it is taken for a circle. */
const MOST_TIMES = 3;

/**
 * ORAS follows a tag list from page to page for ever if the registry has it so. Ends it when the same tags come again and
 * again, when there are too many of them, or after ten times the time that one silence may last.
 */
function endlessness(reference: Reference, timeoutMs: number): (chunk: Buffer) => Error | undefined {
  const { registry, repository } = reference;
  const begun = performance.now();
  const tags = new Set<string>();
  let lines = 0;
  let rest = '';
  return chunk => {
    const parts = (rest + chunk.toString('latin1')).split('\n');
    rest = parts.pop() ?? '';
    lines += parts.length;
    for (const tag of parts) tags.add(tag);
    const isCircle = lines > 1000 + MOST_TIMES * tags.size;
    if (!isCircle && lines <= MOST_TAGS && performance.now() - begun <= 10 * timeoutMs) return undefined;
    return new RegistryProtocol(`${registry} lists the tags of ${repository} without end`, {
      subject: formatReference(reference),
      found: isCircle ? 'the same tags again and again' : `${lines} tags, and more to come`,
      hint: "The registry's operator must mend its tag list.",
    });
  };
}

/** ORAS does not tell the Content-Type; a manifest that has no member of its own for it is told by its shape. */
function mediaTypeIn(bytes: Buffer): string {
  try {
    const { mediaType } = JSON.parse(bytes.toString('utf8'));
    return typeof mediaType === 'string' ? mediaType : '';
  } catch {
    return '';
  }
}

function garbled(subject: string, expected: string): RegistryProtocol {
  return new RegistryProtocol(`ORAS's answer for ${subject} cannot be read`, {
    subject,
    expected,
    hint: 'Try the same with --engine builtin.',
  });
}
