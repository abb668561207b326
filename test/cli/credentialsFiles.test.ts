import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { OptionInvalid } from '../../cli/options/errors.ts';
import { requireCredentialsFile, warningsOfUsualFiles } from '../../cli/options/registryOptions.ts';
import { type ErrorJson, openScene, parsed } from '../support/cli.ts';

const secret = Buffer.from('me:hidden').toString('base64');
const unclosed = `{\n  "auths": {\n    "h": { "auth": "${secret}" \n  }\n`;
const place = ': line 5, column 1';

test('the file of --registry-config is refused if it is no credentials file, with the position and without the content', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-config-'));
  t.after(() => rm(dir, { recursive: true }));
  const file = join(dir, 'config.json');
  const cases: [string, RegExp][] = [
    [unclosed, /is not a JSON object: line 5, column 1$/],
    [`{"auths": {"h": {"auth": "${secret}"}},}`, /is not a JSON object: line 1, column \d+$/],
    [`auths: ${secret}`, /is not a JSON object: line 1, column 1$/],
    [`["${secret}"]`, /is not a JSON object$/],
    [`"${secret}"`, /is not a JSON object$/],
    ['', /is not a JSON object$/],
    [`{"auths": ["${secret}"]}`, /"auths" is not an object$/],
    [`{"auths": {}, "credHelpers": "${secret}"}`, /"credHelpers" is not an object$/],
    ['{"credsStore": {}}', /"credsStore" is not a text$/],
    [`{"auths": {"h": {"auth": "${Buffer.from('hidden').toString('base64')}"}}}`, /credentials for h in /],
  ];
  for (const [text, told] of cases) {
    await writeFile(file, text);
    await assert.rejects(requireCredentialsFile(file), (error: unknown) => {
      assert.ok(error instanceof OptionInvalid, String(error));
      assert.match(error.message, told);
      assert.ok(error.message.includes(file), error.message);
      assert.equal(error.subject, '--registry-config');
      assert.match(error.expected ?? '', /auth/);
      const said = `${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`;
      assert.ok(!said.includes(secret) && !said.includes('hidden'), said);
      return true;
    });
  }
  const good = ['{}', '\ufeff{"auths": null}', `{"auths":{"h":{"auth":"${secret}"}},"credsStore":"","HttpHeaders":1}`];
  for (const text of good) {
    await writeFile(file, text);
    await requireCredentialsFile(file);
  }
  const most = 1024 * 1024;
  await writeFile(file, `{}${' '.repeat(most - 2)}`);
  await requireCredentialsFile(file);
  await writeFile(file, '['.repeat(most + 1));
  await assert.rejects(requireCredentialsFile(file), /credentials file \S+ is too large$/);
});

test('a broken credentials file of docker is reported and ignored', async t => {
  const scene = await openScene(t);
  await scene.write('docker/config.json', unclosed);
  const warnings = await warningsOfUsualFiles({ DOCKER_CONFIG: scene.path('docker'), HOME: scene.path('nowhere') });
  const file = scene.path('docker/config.json');
  const fix = `Fix ${file}, or name a file with --registry-config.`;
  assert.deepEqual(warnings, [
    `warning: The credentials file ${file} is not a JSON object${place}; it is ignored. ${fix}`,
  ]);
  await writeFile(file, Buffer.from('\ufeff{"auths":{}}', 'utf16le'));
  const [wide = '', ...more] = await warningsOfUsualFiles({
    DOCKER_CONFIG: scene.path('docker'),
    HOME: scene.path('nowhere'),
  });
  assert.deepEqual(more, []);
  assert.match(wide, /is not UTF-8: it looks like UTF-16; it is ignored\. Save it as UTF-8/);
});

test('a broken file of --registry-config ends sync in 2 before any request; that of docker only causes a warning', async t => {
  const scene = await openScene(t, { auth: { kind: 'bearer' } });
  scene.push('a', '1.0.0');
  await scene.list({ a: '1.0.0' });
  await scene.write('mine.json', unclosed);
  const named = await scene.sync('--registry-config', 'mine.json', '--format', 'json');
  assert.equal(named.code, 2, named.stderr);
  assert.equal(parsed<{ error: ErrorJson }>(named).error.code, 'OPTION_INVALID');
  assert.ok(named.stderr.includes(`mine.json is not a JSON object${place}`), named.stderr);
  assert.equal(scene.registry.count(), 0);

  await scene.write('home/.docker/config.json', unclosed);
  const usual = await scene.sync();
  assert.equal(usual.code, 0, usual.stderr);
  assert.match(
    usual.stderr,
    /^warning: The credentials file .*home\/\.docker\/config\.json is not a JSON object: line 5/,
  );
  for (const { stdout, stderr } of [named, usual]) assert.ok(!`${stdout}${stderr}`.includes(secret));
});
