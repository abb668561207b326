import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { availableBytes, diskFull } from '../../tree/freeSpace.ts';

test('what is needed and what is free never look the same', async () => {
  const { message } = await diskFull(tmpdir(), (await availableBytes(tmpdir())) + 1, { isLeast: true });
  const [, needed, free] = /: at least (.*) needed, (.*) free$/.exec(message) ?? [];
  assert.ok(needed !== undefined && free !== undefined, message);
  assert.notEqual(needed, free);
});
