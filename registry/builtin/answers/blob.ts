import type { BlobBody } from '../../engine.ts';
import { RegistryProtocol } from '../../errors.ts';
import type { Descriptor } from '../../image.ts';
import { replyFault } from '../faults/blame.ts';
import { webPageError } from '../faults/replyErrors.ts';
import { isWebPage, type Reply } from '../http/reply.ts';
import { abandon, contentEncoding } from '../transport/bodies.ts';
import { BlobStream, type BlobStreamOptions, lengthError } from './blobStream.ts';

export interface ContentRange {
  /** First and last byte, both inclusive. */
  readonly first: number;
  readonly last: number;
  /** Size of the whole representation; undefined for `*`. */
  readonly sizeBytes: number | undefined;
}

/** Reads `bytes FIRST-LAST/SIZE` or `bytes FIRST-LAST/*` (RFC 9110, 14.4); undefined for anything else, an unsatisfied range included. */
export function parseContentRange(value: string | undefined): ContentRange | undefined {
  const match = /^bytes[ \t]+(\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/i.exec(value?.trim() ?? '');
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2]);
  const sizeBytes = match[3] === '*' ? undefined : Number(match[3]);
  const numbers = sizeBytes === undefined ? [first, last] : [first, last, sizeBytes];
  if (!numbers.every(Number.isSafeInteger)) return undefined;
  if (last < first || (sizeBytes !== undefined && last >= sizeBytes)) return undefined;
  return { first, last, sizeBytes };
}

/** Returns true if a 206 with this range holds all of a blob of `sizeBytes` from `offset` on; it may begin earlier. */
export function continuesBlob(range: ContentRange | undefined, offset: number, sizeBytes: number): boolean {
  if (range === undefined) return false;
  return (
    range.first <= offset &&
    range.last === sizeBytes - 1 &&
    (range.sizeBytes === undefined || range.sizeBytes === sizeBytes)
  );
}

export interface BlobRequest extends Omit<BlobStreamOptions, 'expectedBytes'> {
  readonly descriptor: Descriptor;
  /** The first byte that was asked for. */
  readonly start: number;
  /** Accept a Content-Length that is too large: the digest decides. */
  readonly ignoreLength: boolean;
  /** Called before the error for a Content-Length that is too large. */
  readonly onWrongLength: () => void;
}

/**
 * Reads the head of a reply with a blob or a part of it (RFC 9110, 14.4 and 15.3.7). Returns undefined if the reply does not
 * continue at `start`. @throws RegistryProtocol for a web page, a wrong length, or an unusable part where all was asked for
 */
export function readBlob(reply: Reply, request: BlobRequest): BlobBody | undefined {
  const { status, headers } = reply;
  const { descriptor, start } = request;
  const isPart = status === 206;
  const range = parseContentRange(headers['content-range']?.toString());
  const length = headers['content-length'] === undefined ? undefined : Number(headers['content-length']);
  const continues =
    range !== undefined &&
    continuesBlob(range, start, descriptor.size) &&
    // A range that begins earlier than asked for is accepted only if the length agrees.
    (range.first === start || length === undefined || length === descriptor.size - range.first);
  // A range of an encoded body counts encoded bytes (RFC 9110, 14.1.2).
  if (status === 416 || (isPart && (!continues || contentEncoding(reply) !== undefined))) {
    abandon(reply);
    if (start === 0) throw unexpectedRangeError(reply, range, descriptor);
    return undefined;
  }
  const offset = isPart && range !== undefined ? range.first : 0;
  const expectedBytes = descriptor.size - offset;
  if (isWebPage(reply) && length !== expectedBytes) {
    abandon(reply);
    throw webPageError(reply, descriptor.digest);
  }
  const isTooLong = contentEncoding(reply) === undefined && length !== undefined && length > expectedBytes;
  if (isTooLong && !request.ignoreLength) {
    // Most likely another body, not worth its bytes. If the retry says the same, the header may be wrong.
    request.onWrongLength();
    abandon(reply);
    throw lengthError(reply, `${length} bytes`, expectedBytes);
  }
  return { offset, body: new BlobStream(reply, { ...request, expectedBytes }) };
}

function unexpectedRangeError(reply: Reply, range: ContentRange | undefined, { size }: Descriptor): RegistryProtocol {
  return new RegistryProtocol(
    ...replyFault(
      reply,
      'answered with a part of a blob where all of it was requested',
      'A proxy on the way may cache parts of replies: try again, or use another network.',
      {
        status: reply.status,
        expected: `bytes 0-${size - 1}/${size}`,
        found: range === undefined ? 'no usable Content-Range' : `bytes ${range.first}-${range.last}`,
        temporary: true,
        retryLimit: 2,
      },
    ),
  );
}
