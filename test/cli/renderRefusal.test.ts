import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { renderRefusal } from '../../cli/render/errors.ts';

const render = (error: unknown) => renderRefusal(error, { color: false });

test('an error of the operating system is no bug of the program, and shows no stack', async () => {
  const thrown: unknown = await readFile(tmpdir()).catch((error: unknown) => error);
  const failing = Object.assign(new Error("EIO: i/o error, read '/plugins/index.json'"), {
    code: 'EIO',
    errno: -5,
    syscall: 'read',
  });
  for (const [error, words] of [
    [
      thrown,
      /^error SYSTEM_FAULT {2}The operating system reports EISDIR: illegal operation on a directory, read(?: '.+')?\n/,
    ],
    [failing, /^error SYSTEM_FAULT {2}The operating system reports EIO: i\/o error, read '\/plugins\/index\.json'\n/],
  ] as const) {
    assert.match(render(error), words);
    assert.match(render(error), /^ {2}→ Check the disk.+\n$/m);
    assert.equal(render(error).split('\n').length, 3);
  }
});

test('any other error is a bug, which is reported with its stack', () => {
  for (const error of [new TypeError('x is undefined'), Object.assign(new Error('y'), { code: 'ERR_ASSERTION' })])
    assert.match(render(error), /^error this is a bug in plugin-mirror, please report it\n.*Error: [xy].*\n +at /s);
});
