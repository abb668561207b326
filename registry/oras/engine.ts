import { createReadStream } from 'node:fs';
import { mkdtemp, rm, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '../../base/digest.ts';
import type { BlobBody, Engine, RawManifest } from '../engine.ts';
import { RegistryDenied, RegistryNotFound, RegistryProtocol } from '../errors.ts';
import { retrying } from '../fallback/retrying.ts';
import { endpointOf, includesHost, isDockerHub, isLoopback } from '../hosts/hosts.ts';
import type { Descriptor } from '../image.ts';
import { parseManifest } from '../images/parseManifest.ts';
import { parseDiscovered, referrersTag } from '../images/referrers.ts';
import { type Digest, formatReference, isDigest, type Reference } from '../reference.ts';
import type { RegistryOptions, Traffic } from '../registry.ts';
import { HostFlags, OrasCredentials } from './flags.ts';
import { type OrasCall, type OrasResult, readOrasVersion, runOras, sizeOf } from './process.ts';
import { orasError } from './stderr.ts';

const TIMEOUT_MS = 30_000;
const RETRIES = 5;
const BACKOFF_MS = 500;
const READ_BYTES = 512 * 1024;

/**
 * An engine over the ORAS CLI, with one process per request. ORAS retries 408, 429 and 5xx; broken connections are retried
 * here. ORAS cannot resume: a blob is downloaded whole, into a temporary file. @throws OrasMissing, OrasTooOld,
 * RegistryOptionsInvalid
 */
export async function createOrasEngine(options: RegistryOptions): Promise<Engine> {
  await readOrasVersion(options, new AbortController().signal);
  const dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-oras-')); // made with mode 0700
  try {
    const flags = new HostFlags(options, dir);
    // Report unusable files now, not once per image.
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
      const { stdout } = await this.#run(['resolve'], nameOf(reference), reference, 'unknown', signal);
      const digest = stdout.toString('utf8').trim();
      if (isDigest(digest)) return digest;
      throw outputError(formatReference(reference), 'a digest');
    } catch (error) {
      // ORAS fails if the registry's reply to HEAD has no digest: compute it from the manifest.
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
      const { stdout } = await this.#run(args, name, reference, 'manifest', signal);
      const digest = digestOf(stdout, reference.digest);
      return { bytes: stdout, mediaType: mediaTypeIn(stdout), digest };
    } catch (error) {
      // "denied" comes with 401 and with 403, and ORAS prints the status only for a reply without a body, as to HEAD.
      if (error instanceof RegistryDenied && error.status === undefined)
        await this.#run(['resolve'], name, reference, 'manifest', signal);
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
      await this.#run(args, name, reference, 'blob', signal, { growing: path });
      const body = createReadStream(path, { start: offset, highWaterMark: READ_BYTES });
      await new Promise((resolve, reject) => body.once('open', resolve).once('error', reject));
      return { offset, body };
    } finally {
      // Count what was downloaded, even if it is not what the manifest promises.
      const bytes = await sizeOf(path);
      this.#traffic.bytesDownloaded += bytes;
      // Once the file is open its name is not needed; after a failure ORAS leaves a partial file.
      await unlink(path).catch(() => {});
    }
  }

  async listTags(reference: Reference, signal: AbortSignal): Promise<string[]> {
    const { registry, repository } = reference;
    const { stdout } = await this.#run(
      ['repo', 'tags'],
      nameOf({ registry, repository }),
      reference,
      'repository',
      signal,
      { judge: endlessListJudge(reference, this.#options.timeoutMs ?? TIMEOUT_MS) },
    );
    return stdout
      .toString('utf8')
      .split('\n')
      .map(line => line.trim())
      .filter(line => line !== '');
  }

  /** ORAS uses the API, or else the tag schema. */
  async listReferrers(reference: Reference, digest: Digest, signal: AbortSignal): Promise<Descriptor[]> {
    const { registry, repository } = reference;
    const exact = { registry, repository, digest };
    let output: string;
    try {
      const args = ['discover', '--format', 'json', '--depth', '1'];
      const { stdout } = await this.#run(args, nameOf(exact), exact, 'manifest', signal);
      output = stdout.toString('utf8');
    } catch (error) {
      if (error instanceof RegistryNotFound) return [];
      throw error;
    }
    let found: readonly Descriptor[];
    try {
      found = parseDiscovered(output, formatReference(exact));
    } catch {
      throw outputError(formatReference(exact), 'a JSON list of referrers');
    }
    const hasTypes = found.some(({ artifactType }) => artifactType !== undefined);
    return found.length > 0 && !hasTypes && (await this.#isOwnTag(exact, signal)) ? [] : [...found];
  }

  /** ORAS takes the images of an index for its referrers where the referrers tag names the index itself (`cosign copy`, version 3). */
  async #isOwnTag(exact: Reference & { readonly digest: Digest }, signal: AbortSignal): Promise<boolean> {
    const tagged = referrersTag(exact, exact.digest);
    try {
      return tagged !== undefined && (await this.resolve(tagged, signal)) === exact.digest;
    } catch (error) {
      if (error instanceof RegistryNotFound) return false;
      throw error;
    }
  }

  async close(): Promise<void> {
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #run(
    command: readonly string[],
    name: string,
    reference: Reference,
    missing: RegistryNotFound['missing'],
    signal: AbortSignal,
    watching: Pick<OrasCall, 'growing' | 'judge'> = {},
  ): Promise<OrasResult> {
    const { env = {}, timeoutMs = TIMEOUT_MS, retries = RETRIES, onEvent, onRequest } = this.#options;
    const subject = formatReference(reference);
    const config = await this.#credentials.fileFor(reference.registry, reference.repository, signal);
    const flags = await this.#flags.of(reference.registry);
    const run = async (plain: boolean, attempt: number) => {
      this.#traffic.requests++;
      const scheme = plain ? ['--plain-http'] : ['--plain-http=false'];
      const args = [...command, '--registry-config', config, ...flags, ...scheme, name];
      const begunMs = performance.now();
      const report = async (outcome: {
        readonly stdout?: Buffer;
        readonly error?: Error & { readonly status?: number | undefined };
      }) => {
        const { growing } = watching;
        onRequest?.({
          method: `oras ${command.filter(word => /^[a-z]+$/.test(word)).join(' ')}`,
          host: reference.registry,
          path: name.slice(name.indexOf('/')),
          bytes: growing === undefined ? (outcome.stdout?.length ?? 0) : await sizeOf(growing),
          ms: Math.round(performance.now() - begunMs),
          attempt,
          ...(outcome.error === undefined ? {} : { error: outcome.error.message }),
          ...(outcome.error?.status === undefined ? {} : { status: outcome.error.status }),
        });
      };
      const result = await runOras({ args, env, signal, timeoutMs, subject, ...watching }).catch(async error => {
        await report({ error });
        throw error;
      });
      await report(result.failed ? { error: orasError(result.stderr, subject, missing) } : result);
      return result;
    };
    return retrying(
      async attempt => {
        const result = await this.#overItsScheme(reference.registry, plain => run(plain, attempt));
        if (result.failed) throw this.#credentials.explained(orasError(result.stderr, subject, missing), reference);
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

  /** Loopback is tried over http first, and over https if the port turns out to speak TLS. */
  async #overItsScheme(registry: string, run: (plain: boolean) => Promise<OrasResult>): Promise<OrasResult> {
    if (includesHost(this.#options.plainHttp, registry, 'http')) return run(true);
    if (!isLoopback(hostnameOf(registry)) || this.#loopbackTls.has(registry)) return run(false);
    const plain = await run(true);
    if (!plain.failed || !/status code 400|malformed http|http request to an https|\beof\b|reset/i.test(plain.stderr))
      return plain;
    const secure = await run(false);
    // A reply or a certificate shows that the port speaks TLS; these errors do not.
    const provesNothing =
      /http response to https|first record does not look like|\beof\b|refused|reset|timeout|deadline/i;
    if (secure.failed && provesNothing.test(secure.stderr)) return plain;
    this.#loopbackTls.add(registry);
    return secure;
  }
}

/** Returns a reference for ORAS: with only the digest if there is one; Docker Hub's own images with their full name. */
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

/** Ten times as many as in the largest known repositories. */
const MOST_TAGS = 100_000;
/** A list that repeats its tags this often, on average, is a circle; pages may overlap. */
const MOST_REPEATS = 3;

/**
 * ORAS follows the pages of a tag list forever if they form a circle. The judge ends it when tags repeat, when there are more
 * than 100 000, or after ten times `timeoutMs`.
 */
function endlessListJudge(reference: Reference, timeoutMs: number): (chunk: Buffer) => Error | undefined {
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
    const isCircle = lines > 1000 + MOST_REPEATS * tags.size;
    if (!isCircle && lines <= MOST_TAGS && performance.now() - begun <= 10 * timeoutMs) return undefined;
    return new RegistryProtocol(`${registry} lists the tags of ${repository} without end`, {
      subject: formatReference(reference),
      found: isCircle ? 'the same tags repeatedly' : `${lines} tags, and there are more`,
      hint: "The registry's operator must fix its tag list.",
    });
  };
}

/** Returns the manifest's own media type, because ORAS does not print the Content-Type; empty if it has none. */
function mediaTypeIn(bytes: Buffer): string {
  try {
    const { mediaType } = JSON.parse(bytes.toString('utf8'));
    return typeof mediaType === 'string' ? mediaType : '';
  } catch {
    return '';
  }
}

function outputError(subject: string, expected: string): RegistryProtocol {
  return new RegistryProtocol(`The output of ORAS for ${subject} cannot be read`, {
    subject,
    expected,
    hint: 'Try the same with --engine builtin.',
  });
}
