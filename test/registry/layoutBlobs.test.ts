import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { LayoutBlobDamaged } from '../../layout/errors.ts';
import type { Layout } from '../../layout/layout.ts';
import { readVerified } from '../../layout/verify.ts';
import { RegistryDigestMismatch } from '../../registry/errors.ts';
import { LayoutBlobs } from '../../registry/layout/blobs.ts';

const large = randomBytes(2_500_000);
const small = randomBytes(3000);
const digestOf = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}` as const;
const reference = { registry: 'registry.example.com', repository: 'plugins/a', tag: '1.0.0' };

/** A layout with one blob, of which the reads that `wrongReads` names have one other byte. */
function layoutOf(bytes: Buffer, wrongReads: readonly number[]): Layout & { readonly reads: () => number } {
  let reads = 0;
  const layout: Layout & { readonly reads: () => number } = {
    path: 'bundle.tar',
    files: ['bundle.tar'],
    index: { entries: [], annotations: {} },
    reads: () => reads,
    sizeOf: async () => bytes.length,
    async open() {
      reads += 1;
      const copy = Buffer.from(bytes);
      if (wrongReads.includes(reads)) copy[100] = (copy[100] ?? 0) ^ 1;
      return Readable.from([copy.subarray(0, 50), copy.subarray(50)]);
    },
    read: (digest, limitBytes) => readVerified(layout, digest, limitBytes),
    locate: async () => undefined,
    digests: async () => [digestOf(bytes)],
    blame: async digest =>
      new LayoutBlobDamaged('A blob in bundle.tar is damaged', { subject: digest, hint: 'Copy the bundle again.' }),
    compareChecksums: async () => 'absent',
    close: async () => {},
  };
  return layout;
}

const descriptorOf = (bytes: Buffer) => ({ mediaType: 'x', digest: digestOf(bytes), size: bytes.length });

for (const [name, bytes, mostReads] of [
  ['a small blob', small, 1],
  ['a large blob', large, 2],
] as const) {
  test(`${name} of a bundle is verified before its first byte is handed on`, async () => {
    const blobs = new LayoutBlobs(layoutOf(bytes, [1]));
    await assert.rejects(blobs.open(reference, descriptorOf(bytes)), LayoutBlobDamaged);
    // The disk returned another byte once.
    assert.ok((await buffer(await blobs.open(reference, descriptorOf(bytes)))).equals(bytes));
  });

  test(`${name} of a bundle that has other bytes when it is read again does not end as if it were whole`, async () => {
    const layout = layoutOf(bytes, [2]);
    const blobs = new LayoutBlobs(layout);
    const read = async () => buffer(await blobs.open(reference, descriptorOf(bytes)));
    if (mostReads === 1) assert.ok((await read()).equals(bytes));
    await assert.rejects(read(), LayoutBlobDamaged);
    assert.ok((await read()).equals(bytes));
    assert.ok(layout.reads() <= 2 + mostReads);
  });
}

test('a blob of another size than its manifest says is damaged, unless it matches its digest', async () => {
  for (const bytes of [large, small]) {
    const whole = descriptorOf(bytes);
    const cut = layoutOf(bytes.subarray(0, 1000), []);
    await assert.rejects(new LayoutBlobs(cut).open(reference, whole), LayoutBlobDamaged);
    const longer = layoutOf(Buffer.concat([bytes, large]), []);
    await assert.rejects(new LayoutBlobs(longer).open(reference, whole), LayoutBlobDamaged);
    const blobs = new LayoutBlobs(layoutOf(bytes, []));
    await assert.rejects(blobs.open(reference, { ...whole, size: whole.size + 1 }), RegistryDigestMismatch);
  }
});

test('an empty blob of a bundle is read to its end', async () => {
  const empty = Buffer.alloc(0);
  const blobs = new LayoutBlobs(layoutOf(empty, []));
  assert.equal((await buffer(await blobs.open(reference, descriptorOf(empty)))).length, 0);
});
