import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RegistryClient, RegistryRequest } from '../builtin/client/registryClient.ts';
import { type Reply, requestOf } from '../builtin/http/reply.ts';
import { dropBody } from '../builtin/transport/bodies.ts';
import { RegistryProtocol, RegistryRedirect, RegistryRefusal } from '../errors.ts';
import { backoff } from '../fallback/retrying.ts';
import { redactTarget } from '../hosts/hosts.ts';
import type { Digest } from '../reference.ts';

/** A blob to push. */
export interface PushBlob {
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
  /** The bytes from the first one on. It is called again for every attempt. */
  open(signal: AbortSignal): Promise<Readable | Buffer>;
}

export interface Upload {
  readonly client: RegistryClient;
  readonly request: Pick<RegistryRequest, 'purpose' | 'endpoint'>;
  /** Asks whether the blob is there: an upload whose reply was lost is not repeated. */
  readonly exists: () => Promise<boolean>;
  readonly onBytes: (count: number) => void;
}

const ATTEMPTS = 5;
/** Registries must accept chunks; most proxies in front of them accept 8 MiB, and S3 wants 5 MiB at least. */
const CHUNK_BYTES = 8 * 1024 * 1024;
/** Chunks that are refused for their size are halved down to this. nginx accepts 1 MiB by default. */
const LEAST_CHUNK_BYTES = 256 * 1024;
/** A chunk is in memory while it is sent. A registry that wants larger ones cannot be served. */
const MOST_CHUNK_BYTES = 32 * 1024 * 1024;
const OCTETS = { 'content-type': 'application/octet-stream' };
/** Statuses of registries and proxies that do not take a blob as a whole. */
const TOO_LARGE = [411, 413, 501];
/** Statuses with which some registries refuse a blob as a whole, though they take chunks. */
const REFUSED = [400, 405];

/**
 * Uploads a blob: mounted from another repository, as a whole, or, after that failed, in chunks from the byte that the registry
 * has (distribution-spec 1.1, Pushing blobs). Chunks that are too large are halved. @throws this room's refusals, or the signal's reason
 */
export async function uploadBlob(
  upload: Upload,
  blob: PushBlob,
  mountFrom: string | undefined,
  signal: AbortSignal,
): Promise<'mounted' | 'uploaded' | 'present'> {
  const begun = await start(upload, blob, mountFrom, signal).catch((error: unknown) => {
    // Some registries refuse to mount instead of beginning an upload.
    if (mountFrom === undefined || !(error instanceof RegistryRefusal) || error.temporary) throw error;
    return start(upload, blob, undefined, signal);
  });
  if (begun === undefined) return 'mounted';
  let session = begun;
  const { leastBytes } = session;
  let chunkBytes = Math.max(CHUNK_BYTES, leastBytes);
  // Explains more than the error of a chunk that follows from it.
  let refused: RegistryRefusal | undefined;
  for (let attempt = 1; ; attempt++) {
    try {
      if (attempt === 1) await putWhole(upload, blob, session.location, signal);
      else await putRest(upload, blob, session, chunkBytes, signal);
      return 'uploaded';
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RegistryRefusal)) throw error;
      const isWhole = attempt === 1;
      const sent = isWhole ? blob.size : Math.min(chunkBytes, blob.size - session.received);
      const isTooLarge = error.status === 413 && sent > 0;
      if (isTooLarge) chunkBytes = Math.max(chunkBelow(sent), leastBytes);
      if (isWhole && REFUSED.includes(error.status ?? 0)) refused = error;
      else if (isTooLarge && !isWhole && chunkBytes < sent)
        attempt--; // A smaller chunk is another request.
      else if (attempt >= ATTEMPTS || (isTooLarge && !isWhole) || !mayTryAgain(error, refused))
        throw error.temporary ? error : (refused ?? error);
      await sleep(Math.max(error.retryAfterMs ?? 0, backoff(attempt)), undefined, { signal });
      if (await upload.exists()) return 'uploaded';
      // It is unknown which bytes a registry keeps of a refused upload.
      const known = error === refused ? undefined : await sessionAt(upload, session, signal);
      session = known ?? (await start(upload, blob, undefined, signal)) ?? { ...session, received: 0 };
    }
  }
}

/** Returns the largest size of chunks below `size`, or the smallest size that is tried. */
function chunkBelow(size: number): number {
  let bytes = CHUNK_BYTES;
  while (bytes >= size && bytes > LEAST_CHUNK_BYTES) bytes /= 2;
  return bytes;
}

/** An upload that a registry has begun. Its URL may change with each reply (distribution-spec 1.1, Pushing a blob in chunks). */
interface Session {
  location: URL;
  /** How many bytes the registry has. */
  received: number;
  /** The registry's least size of chunks but the last (OCI-Chunk-Min-Length); 0 without one. */
  readonly leastBytes: number;
}

function mayTryAgain({ temporary, status = 0 }: RegistryRefusal, refused: RegistryRefusal | undefined): boolean {
  return temporary || TOO_LARGE.includes(status) || (refused === undefined && [404, 416].includes(status));
}

/** @returns the upload; undefined if the blob was mounted */
async function start(
  { client, request }: Upload,
  { digest }: PushBlob,
  mountFrom: string | undefined,
  signal: AbortSignal,
): Promise<Session | undefined> {
  const query = mountFrom === undefined ? '' : `?mount=${digest}&from=${encodeURIComponent(mountFrom)}`;
  const post: RegistryRequest = {
    ...request,
    method: 'POST',
    path: `blobs/uploads/${query}`,
    headers: { 'content-length': '0' },
    accept: [201, 202],
    body: async () => Buffer.alloc(0),
  };
  return client.fetch(
    post,
    async reply => {
      await dropBody(reply, signal);
      if (reply.status === 201) return undefined;
      const least = Number(reply.headers['oci-chunk-min-length'] ?? 0);
      const leastBytes = least > 0 ? Math.min(least, MOST_CHUNK_BYTES) : 0;
      return { location: locationOf(reply), received: 0, leastBytes };
    },
    signal,
  );
}

async function putWhole(upload: Upload, blob: PushBlob, location: URL, signal: AbortSignal): Promise<void> {
  const put: RegistryRequest = {
    ...upload.request,
    method: 'PUT',
    path: withDigest(location, blob.digest),
    headers: { ...OCTETS, 'content-length': String(blob.size) },
    accept: [201, 202, 204],
    body: async () => counted(await blob.open(signal), upload.onBytes),
  };
  await upload.client.fetch(put, reply => dropBody(reply, signal), signal, 0);
}

/** Sends what the registry lacks in chunks, then completes the upload. Keeps `session` up to date. */
async function putRest(
  upload: Upload,
  blob: PushBlob,
  session: Session,
  chunkBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const { client, request, onBytes } = upload;
  for await (const chunk of chunksFrom(await blob.open(signal), session.received, chunkBytes)) {
    const { location, received: at } = session;
    const patch: RegistryRequest = {
      ...request,
      method: 'PATCH',
      path: location,
      headers: { ...OCTETS, 'content-length': String(chunk.length), 'content-range': `${at}-${at + chunk.length - 1}` },
      accept: [202, 204],
      body: async () => chunk,
    };
    session.location = await client.fetch(
      patch,
      async reply => {
        await dropBody(reply, signal);
        return locationOf(reply, location);
      },
      signal,
      0,
    );
    session.received += chunk.length;
    onBytes(chunk.length);
  }
  const put: RegistryRequest = {
    ...request,
    method: 'PUT',
    path: withDigest(session.location, blob.digest),
    headers: { ...OCTETS, 'content-length': '0' },
    accept: [201, 202, 204],
    body: async () => Buffer.alloc(0),
  };
  await client.fetch(put, reply => dropBody(reply, signal), signal, 0);
}

/** @returns what the registry has of an upload; undefined if it does not know the upload */
async function sessionAt(
  { client, request }: Upload,
  { location, leastBytes }: Session,
  signal: AbortSignal,
): Promise<Session | undefined> {
  const get: RegistryRequest = { ...request, method: 'GET', path: location, accept: [204] };
  try {
    return await client.fetch(
      get,
      async reply => {
        await dropBody(reply, signal);
        const [, last] = /^(?:bytes=)?0-(\d+)$/.exec(reply.headers.range?.toString() ?? '') ?? [];
        // "0-0" is one byte, or none: all is sent again then.
        const received = last === undefined || last === '0' ? 0 : Number(last) + 1;
        return { location: locationOf(reply, location), received, leastBytes };
      },
      signal,
    );
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof RegistryRefusal && !error.temporary) return undefined;
    throw error;
  }
}

/** Returns the bytes from `start` on in chunks of `chunkBytes`, of which the last may be shorter. */
async function* chunksFrom(source: Readable | Buffer, start: number, chunkBytes: number): AsyncGenerator<Buffer> {
  let waiting: Buffer[] = [];
  let size = 0;
  let skip = start;
  for await (const piece of Buffer.isBuffer(source) ? [source] : source) {
    const skipped = Math.min(skip, (piece as Buffer).length);
    skip -= skipped;
    let bytes = (piece as Buffer).subarray(skipped);
    while (size + bytes.length >= chunkBytes) {
      const taken = chunkBytes - size;
      yield Buffer.concat([...waiting, bytes.subarray(0, taken)]);
      bytes = bytes.subarray(taken);
      waiting = [];
      size = 0;
    }
    waiting.push(bytes);
    size += bytes.length;
  }
  if (size > 0) yield Buffer.concat(waiting);
}

function counted(source: Readable | Buffer, onBytes: (count: number) => void): Readable {
  const pieces = async function* (): AsyncGenerator<Buffer> {
    for await (const piece of Buffer.isBuffer(source) ? [source] : source) {
      onBytes((piece as Buffer).length);
      yield piece as Buffer;
    }
  };
  return Readable.from(pieces());
}

function withDigest(location: URL, digest: Digest): URL {
  // The rest of the query stays as it is: it may be signed. It may also be empty.
  const { href } = location;
  const separator = !href.includes('?') ? '?' : /[?&]$/.test(href) ? '' : '&';
  return new URL(`${href}${separator}digest=${encodeURIComponent(digest)}`);
}

/** The next URL of an upload (RFC 9110, 10.2.2). `before` is kept where the registry does not change it. */
function locationOf(reply: Reply, before?: URL): URL {
  const text = reply.headers.location?.toString();
  const { url } = reply.request;
  const location = text === undefined ? before : URL.canParse(text, url.href) ? new URL(text, url) : undefined;
  if (location === undefined || !/^https?:$/.test(location.protocol))
    throw new RegistryProtocol(`${url.host} did not say where the upload goes`, {
      subject: url.host,
      status: reply.status,
      request: requestOf(reply),
      expected: 'a Location header with an http or https URL',
      found: text === undefined ? 'none' : redactTarget(text),
      hint: 'Check that no proxy in front of the registry removes or changes headers.',
    });
  location.hash = '';
  location.username = '';
  location.password = '';
  if (url.protocol === 'https:' && location.protocol === 'http:')
    throw new RegistryRedirect(`${url.host} sends the upload from https to http`, {
      subject: url.host,
      expected: 'an https URL',
      found: `${location.protocol}//${location.host}`,
      hint: 'Set the registry’s external URL to https: it makes the wrong Location headers.',
    });
  return location;
}
