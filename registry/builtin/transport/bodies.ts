import type { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream';
import zlib from 'node:zlib';
import { RegistryProtocol, RegistryTimeout } from '../../errors.ts';
import { redactUrl } from '../../hosts/redact.ts';
import { refuseTransport } from '../faults/transportFaults.ts';
import type { HttpAnswer } from './transport.ts';

/**
 * Reads a whole answer that ought to be small, within `timeoutMs`. Takes off a Content-Encoding, though none was asked for.
 * @throws RegistryProtocol beyond `limitBytes`, and this room's refusals for a body that breaks or stalls
 */
export async function readBody(
  answer: HttpAnswer,
  limitBytes: number,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const { url } = answer.request;
  const body = decodeBody(answer);
  const alarm = setTimeout(() => {
    body.destroy(
      new RegistryTimeout(`${url.host} took longer than ${timeoutMs / 1000} s for a short answer`, {
        subject: url.host,
        request: requestOf(answer),
        temporary: true,
        hint: 'Try again later, or allow more time with --timeout.',
      }),
    );
  }, timeoutMs);
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      sizeBytes += chunk.length;
      if (sizeBytes > limitBytes)
        throw new RegistryProtocol(`The answer of ${url.host} is larger than anything it may be`, {
          subject: url.host,
          request: requestOf(answer),
          expected: `at most ${limitBytes} bytes`,
          hint: 'Check that the host is a registry; no index or manifest may be larger than 4 MiB.',
        });
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    signal.throwIfAborted();
    throw refuseTransport(error, attemptOf(answer, timeoutMs));
  } finally {
    clearTimeout(alarm);
  }
}

/** Lets go of an answer whose body nobody needs, so that its connection can be used again. */
export async function dropBody(answer: HttpAnswer, signal: AbortSignal): Promise<void> {
  await answer.body.dump({ limit: 65_536, signal }).catch(() => answer.body.destroy());
  answer.leave();
  signal.throwIfAborted();
}

/**
 * The body without its Content-Encoding (RFC 9110, 8.4), of which identity was asked for: some proxies compress all the
 * same. @throws RegistryProtocol for an encoding that cannot be undone here
 */
export function decodeBody(answer: HttpAnswer): Readable {
  const encoding = contentEncoding(answer);
  if (encoding === undefined) return answer.body;
  const decoder = decoderFor(encoding);
  if (decoder === undefined) {
    answer.body.on('error', () => {}).destroy();
    throw new RegistryProtocol(`${answer.request.url.host} sent its answer with Content-Encoding ${encoding}`, {
      subject: answer.request.url.host,
      request: requestOf(answer),
      expected: 'identity, as asked for',
      found: encoding,
      temporary: true,
      retryLimit: 2,
      hint: 'A proxy on the way compresses what must not be changed: have the registry excluded there.',
    });
  }
  pipeline(answer.body, decoder, () => {});
  return decoder;
}

/** True if there is a Content-Encoding, and it is one that decodeBody undoes. */
export function canDecode(answer: HttpAnswer): boolean {
  return ['gzip', 'x-gzip', 'deflate', 'br'].includes(contentEncoding(answer) ?? '');
}

export function contentEncoding(answer: HttpAnswer): string | undefined {
  const encoding = answer.headers['content-encoding']?.toString().trim().toLowerCase();
  return encoding === undefined || encoding === '' || encoding === 'identity' ? undefined : encoding.slice(0, 40);
}

export function requestOf({ request }: HttpAnswer): string {
  return `${request.method} ${redactUrl(request.url)}`;
}

export function attemptOf({ request, proxy }: HttpAnswer, timeoutMs: number): Parameters<typeof refuseTransport>[1] {
  return { method: request.method, url: request.url, proxy, timeoutMs };
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
