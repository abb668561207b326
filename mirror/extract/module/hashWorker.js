import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { crc32 } from 'node:zlib';

/*
 * The worker thread of hashModule: it reads and hashes one file after the other. Plain JavaScript, because a worker starts
 * without loaders: on Node 20 its types would not be stripped when the tests run the sources.
 */

const piece = Buffer.allocUnsafe(512 * 1024);

parentPort?.on('message', (/** @type {{ id: number, path: string }} */ { id, path }) => {
  try {
    parentPort?.postMessage({ id, hashes: hash(path) });
  } catch (error) {
    const { message, code, errno, syscall } = /** @type {NodeJS.ErrnoException} */ (error);
    parentPort?.postMessage({ id, error: { message, code, errno, syscall } });
  }
});

/**
 * Also called on the main thread, where no thread can be started.
 * @param {string} path
 */
export function hash(path) {
  const sha256 = createHash('sha256');
  const md5 = createHash('md5');
  let crc = 0;
  const file = openSync(path, 'r');
  try {
    for (;;) {
      const bytesRead = readSync(file, piece);
      if (bytesRead === 0) return { sha256: sha256.digest('hex'), md5: md5.digest('hex'), crc };
      const bytes = piece.subarray(0, bytesRead);
      sha256.update(bytes);
      md5.update(bytes);
      crc = crc32(bytes, crc);
    }
  } finally {
    closeSync(file);
  }
}
