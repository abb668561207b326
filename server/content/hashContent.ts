import { createHash } from 'node:crypto';
import { setImmediate as immediate } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { type Fault, faultOf } from '../fault.ts';
import { CHUNK_BYTES } from './chunkCache.ts';
import { type Content, GRANULE_BYTES } from './content.ts';
import type { OpenFile } from './openFile.ts';

/** Reads the whole file. Answers its granules' checksums if its sha256 is the content's, else what is wrong with it. */
export async function hashContent(content: Content, file: OpenFile): Promise<Uint32Array | Fault> {
  const hash = createHash('sha256');
  const checksums = new Uint32Array(Math.ceil(content.sizeBytes / GRANULE_BYTES));
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, content.sizeBytes));
  for (let position = 0; position < content.sizeBytes; position += CHUNK_BYTES) {
    const length = Math.min(CHUNK_BYTES, content.sizeBytes - position);
    const error = await new Promise<Error | undefined>(resolve => file.read(buffer, length, position, resolve));
    // Without an errno it is shorter than it was.
    if (error !== undefined) return 'code' in error ? faultOf(error) : 'altered';
    hash.update(buffer.subarray(0, length));
    for (let from = 0; from < length; from += GRANULE_BYTES)
      checksums[(position + from) / GRANULE_BYTES] = crc32(
        buffer.subarray(from, Math.min(from + GRANULE_BYTES, length)),
      );
    await immediate();
  }
  return hash.digest('hex') === content.sha256 ? checksums : 'altered';
}
