import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { availableBytes, diskFullError } from '../../tree/freeSpace.ts';

test('the bytes needed and the bytes free never look the same', async () => {
  const { message } = await diskFullError(tmpdir(), (await availableBytes(tmpdir())) + 1, { isLeast: true });
  const [, needed, free] = /: at least (.*) needed, (.*) free$/.exec(message) ?? [];
  assert.ok(needed !== undefined && free !== undefined, message);
  assert.notEqual(needed, free);
});
