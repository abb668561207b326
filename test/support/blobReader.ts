import { createHash } from 'node:crypto';
import { openRegistry } from '../../registry/openRegistry.ts';
import { isDigest, parseReference } from '../../registry/reference.ts';

/**
 * A process of its own that reads blobs and says what it got: `REFERENCE CACHE_DIR DIGEST/SIZE…`, one line `DIGEST HEX` per
 * blob on stdout, then by how much memory grew. Tests kill it, limit it and start several at once.
 */
const [ref = '', cacheDir = '', ...wanted] = process.argv.slice(2);
const registry = await openRegistry({ timeoutMs: 10_000, ...(cacheDir === '' ? {} : { cacheDir }) });
const reference = parseReference(ref);
await registry.resolve(reference);
// Sampled: the kernel's own peak counts the process that started this one, too (getrusage(2), across execve).
const idleBytes = process.memoryUsage.rss();
let peakBytes = idleBytes;
const sampling = setInterval(() => {
  peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
}, 10);
await Promise.all(
  wanted.map(async text => {
    const [digest = '', size] = text.split('/');
    if (!isDigest(digest)) throw new Error(`not a digest: ${digest}`);
    const hash = createHash('sha256');
    const descriptor = { mediaType: 'application/octet-stream', digest, size: Number(size) };
    for await (const chunk of await registry.openBlob(reference, descriptor)) hash.update(chunk);
    console.log(`${digest} ${hash.digest('hex')}`);
  }),
);
clearInterval(sampling);
await registry.close();
console.log(`memory ${peakBytes - idleBytes}`);
