import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isUtf16 } from '../../base/utf16.ts';
import { tidySecret } from '../../cli/options/environment.ts';
import { OptionInvalid } from '../../cli/options/errors.ts';
import { readCredentials } from '../../cli/serve/serverOptions.ts';

test('one byte order mark and one line end do not belong to a secret', () => {
  for (const [text, secret] of [
    ['päss', 'päss'],
    ['päss\n', 'päss'],
    ['päss\r\n', 'päss'],
    ['\ufeffpäss\r\n', 'päss'],
    ['\ufeff\ufeffp\n\n', '\ufeffp\n'],
    ['', ''],
  ] as const)
    assert.equal(tidySecret(text), secret);
});

test('UTF-16 is recognized by its byte order mark or its zero bytes', () => {
  for (const text of ['\ufeffpäss', 'pass']) {
    const wide = Buffer.from(text, 'utf16le');
    assert.equal(isUtf16(wide), true);
    assert.equal(isUtf16(Buffer.from(wide).swap16()), true);
    assert.equal(isUtf16(Buffer.from(text)), false);
  }
});

test('serve reads its token without a byte order mark, and refuses UTF-16 and an empty file by name', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'plugin-mirror-secret-'));
  t.after(() => rm(folder, { recursive: true }));
  const authTokenFile = join(folder, 'token');
  await writeFile(authTokenFile, '\ufefftok\r\n');
  assert.equal(readCredentials({ authTokenFile }, {})?.token, 'tok');
  await writeFile(authTokenFile, Buffer.from('\ufefftok\r\n', 'utf16le'));
  assert.throws(
    () => readCredentials({ authTokenFile }, {}),
    (error: unknown) => error instanceof OptionInvalid && /UTF-16/.test(error.message),
  );
  for (const empty of ['', '\n', '\ufeff\r\n']) {
    await writeFile(authTokenFile, empty);
    assert.throws(() => readCredentials({ authTokenFile }, {}), {
      code: 'OPTION_INVALID',
      message: `--auth-token-file: ${authTokenFile} is empty`,
    });
  }
});
