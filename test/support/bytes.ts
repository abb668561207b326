import assert from 'node:assert/strict';

/** Fails with the first difference. deepEqual works for minutes on two modules that differ, and prints all of them. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array, about = 'the bytes'): void {
  if (Buffer.compare(actual, expected) === 0) return;
  const place = expected.findIndex((byte, index) => byte !== actual[index]);
  const at = place < 0 ? expected.length : place;
  const shown = (bytes: Uint8Array): string =>
    `${bytes.length} bytes, from byte ${at} on ${Buffer.from(bytes.subarray(at, at + 16)).toString('hex') || 'none'}`;
  assert.fail(`${about} differ\nactual:   ${shown(actual)}\nexpected: ${shown(expected)}`);
}
