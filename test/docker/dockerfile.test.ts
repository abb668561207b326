import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const text = await readFile(join(root, 'Dockerfile'), 'utf8');
const instructions = text
  .replace(/^\s*#.*\n/gm, '')
  .replace(/\\\n\s*/g, ' ')
  .split('\n')
  .filter(line => line !== '');
const stages = instructions
  .join('\n')
  .split(/^(?=FROM )/m)
  .slice(1);
const last = stages.at(-1) ?? '';

test('the build pulls only the base image: no syntax line, and no heredoc, which would need one', () => {
  assert.doesNotMatch(text, /^#\s*syntax\s*=/m);
  assert.doesNotMatch(text, /<<-?["']?[A-Za-z]/);
  const images = stages.map(stage => /^FROM (?:--platform=\S+ )?(\S+)/.exec(stage)?.[1]);
  const names = new Set(stages.flatMap(stage => / AS (\S+)/.exec(stage)?.[1] ?? []));
  assert.deepEqual(
    images.filter(image => !names.has(image ?? '')),
    ['${NODE_IMAGE}', '${ORAS_IMAGE}', 'engine-${ENGINE}', 'scratch', 'scratch', '${NODE_IMAGE}'],
  );
});

test('the final stage runs nothing: another platform needs no emulation', () => {
  assert.doesNotMatch(last, /^(?:RUN|ADD) /m);
  const builders = stages.slice(0, -1).filter(stage => /^FROM \$/.test(stage));
  assert.deepEqual(builders, [], 'a builder stage without --platform=$BUILDPLATFORM would run once per architecture');
});

test('port, user, path and health check that consumers rely on', async () => {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  assert.match(last, /^USER [1-9]\d*:\d+$/m);
  assert.match(last, /^EXPOSE 8080$/m);
  assert.match(last, /^STOPSIGNAL SIGTERM$/m);
  assert.match(last, /^HEALTHCHECK .*CMD \["\/opt\/plugin-mirror\/bin\/health"\]/m);
  assert.match(last, /^COPY --from=verified \/ \/usr\/share\/nginx\/html\/plugins\/$/m);
  assert.match(last, new RegExp(`^ARG VERSION=${version.replaceAll('.', '\\.')}$`, 'm'));
  assert.match(text, /^ARG NODE_IMAGE=node:24-bookworm-slim$/m);
});

test('no password can end up in a layer', () => {
  const declared = instructions.flatMap(line => /^(?:ARG|ENV) (\w+)/.exec(line)?.[1] ?? []);
  assert.deepEqual(
    declared.filter(name => /PASSWORD|TOKEN|SECRET/i.test(name)),
    [],
  );
  assert.match(text, /--mount=type=secret,id=registry-password/);
});
