import type { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream';
import zlib from 'node:zlib';
import { RegistryProtocol, RegistryTimeout } from '../../errors.ts';
import { replyFault } from '../faults/blame.ts';
import type { FailedRequest } from '../faults/tlsErrors.ts';
import { transportError } from '../faults/transportErrors.ts';
import type { Reply } from '../http/reply.ts';

/**
 * Reads a short body whole, within `timeoutMs`, and undoes a Content-Encoding, which some proxies add unasked.
 * @throws RegistryProtocol beyond `limitBytes`; this room's refusals for a body that breaks or stalls; the signal's reason
 */
export async function readBody(
  reply: Reply,
  limitBytes: number,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const body = decodeBody(reply);
  const timer = setTimeout(() => {
    const what = `took longer than ${timeoutMs / 1000} s for a short reply`;
    const hint = 'Try again later, or allow more time with --timeout.';
    body.destroy(new RegistryTimeout(...replyFault(reply, what, hint, { temporary: true })));
  }, timeoutMs);
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      sizeBytes += chunk.length;
      reply.countBytes(chunk.length);
      if (sizeBytes > limitBytes)
        throw new RegistryProtocol(
          ...replyFault(
            reply,
            'sent a reply that is too large',
            reply.request.namedBy === undefined
              ? 'Check that the host is a registry; no index or manifest may be larger than 4 MiB.'
              : 'Check that nothing else answers there.',
            { expected: `at most ${limitBytes} bytes` },
          ),
        );
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    signal.throwIfAborted();
    throw transportError(error, failedRequestOf(reply, timeoutMs));
  } finally {
    clearTimeout(timer);
  }
}

/** Discards a body of which nothing is needed, so that its connection can be used again. @throws the signal's reason */
export async function dropBody(reply: Reply, signal: AbortSignal): Promise<void> {
  await reply.body.dump({ limit: 65_536, signal }).catch(() => reply.body.destroy());
  reply.release();
  signal.throwIfAborted();
}

/** Ends a reply whose body is not to be read, and its connection with it. */
export function abandon(reply: Reply): void {
  reply.body.on('error', () => {}).destroy();
  reply.release();
}

/**
 * Returns the body without its Content-Encoding (RFC 9110, 8.4). Every request asks for identity, but some proxies compress
 * anyway. @throws RegistryProtocol for an encoding other than gzip, deflate and br
 */
export function decodeBody(reply: Reply): Readable {
  const encoding = contentEncoding(reply);
  if (encoding === undefined) return reply.body;
  const decoder = decoderFor(encoding);
  if (decoder === undefined) {
    reply.body.on('error', () => {}).destroy();
    throw new RegistryProtocol(
      ...replyFault(
        reply,
        `sent its reply with Content-Encoding ${encoding}`,
        'A proxy on the way compresses registry data, which must not be changed: exclude the registry there.',
        { expected: 'identity, as requested', found: encoding, temporary: true, retryLimit: 2 },
      ),
    );
  }
  pipeline(reply.body, decoder, () => {});
  return decoder;
}

/** Returns true if there is a Content-Encoding that decodeBody can undo. */
export function canDecode(reply: Reply): boolean {
  return ['gzip', 'x-gzip', 'deflate', 'br'].includes(contentEncoding(reply) ?? '');
}

/** The Content-Encoding in lower case; undefined for identity. */
export function contentEncoding(reply: Reply): string | undefined {
  const encoding = reply.headers['content-encoding']?.toString().trim().toLowerCase();
  return encoding === undefined || encoding === '' || encoding === 'identity' ? undefined : encoding.slice(0, 40);
}

export function failedRequestOf({ request, proxy }: Reply, timeoutMs: number): FailedRequest {
  return { method: request.method, url: request.url, proxy, timeoutMs, namedBy: request.namedBy };
}

function decoderFor(encoding: string): Transform | undefined {
  switch (encoding) {
    case 'gzip':
    case 'x-gzip':
      return zlib.createGunzip();
    case 'deflate':
      return zlib.createInflate();
    case 'br':
      return zlib.createBrotliDecompress();
    default:
      return undefined;
  }
}
