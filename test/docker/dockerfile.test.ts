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
const program = stages.find(stage => / AS program$/m.test(stage)) ?? '';

test('the build pulls only the base image: no syntax line, and no heredoc, which would need one', () => {
  assert.doesNotMatch(text, /^#\s*syntax\s*=/m);
  assert.doesNotMatch(text, /<<-?["']?[A-Za-z]/);
  const images = stages.map(stage => /^FROM (?:--platform=\S+ )?(\S+)/.exec(stage)?.[1]);
  const names = new Set(stages.flatMap(stage => / AS (\S+)/.exec(stage)?.[1] ?? []));
  assert.deepEqual(
    images.filter(image => !names.has(image ?? '')),
    [
      '${NODE_IMAGE}',
      '${NODE_IMAGE}',
      '${ORAS_IMAGE}',
      'engine-${ENGINE}',
      'scratch',
      'scratch',
      '${NODE_IMAGE}',
      '${NODE_IMAGE}',
      'scratch',
    ],
  );
});

test('what is built for the target platform runs nothing: another platform needs no emulation', () => {
  const ofTarget = stages.filter(stage => /^FROM (?!--platform=\$BUILDPLATFORM )/.test(stage));
  const namesOf = (list: readonly string[]) => list.map(stage => / AS (\S+)/.exec(stage)?.[1] ?? '');
  const running = ofTarget.filter(stage => /^(?:RUN|ADD) /m.test(stage));
  const roots = namesOf(ofTarget).filter(name => ['base', 'program', ''].includes(name));
  assert.deepEqual(roots, ['base', 'program', '']);
  // The others begin with a stage of the build platform.
  for (const stage of running)
    assert.match(stage, /^FROM (?:packages|app|engine-\$\{ENGINE\}) AS /, stage.split('\n', 1)[0]);
});

test('every folder that is compiled is copied', async () => {
  const { include } = JSON.parse(await readFile(join(root, 'tsconfig.build.json'), 'utf8')) as { include: string[] };
  assert.deepEqual(
    include.filter(folder => !instructions.includes(`COPY ${folder} ${folder}`)),
    [],
  );
});

test('every plugin layer that the scripts make is copied, each by itself', async () => {
  const script = await readFile(join(root, 'scripts/image/imageTree.sh'), 'utf8');
  const count = Number(/ count=(\d+)$/m.exec(script)?.[1]);
  const copied = [...last.matchAll(/^COPY --link --from=divided \/layers\/(\w+)\/ \/$/gm)].map(([, layer]) => layer);
  const expected = Array.from({ length: count }, (_, index) => String(index).padStart(2, '0'));
  assert.deepEqual(copied, [...expected, 'catalog']);
  assert.ok(copied.length < 120, 'docker takes at most 125 layers');
});

test('port, user, path and health check that consumers rely on', async () => {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  assert.match(program, /^USER [1-9]\d*:\d+$/m);
  assert.match(program, /^EXPOSE 8080$/m);
  assert.match(program, /^STOPSIGNAL SIGTERM$/m);
  assert.match(program, /^HEALTHCHECK .*CMD \["\/opt\/plugin-mirror\/bin\/health"\]/m);
  assert.match(text, /imageTree\.sh \/tree \/layers usr\/share\/nginx\/html\/plugins$/m);
  assert.match(program, new RegExp(`^ARG VERSION=${version.replaceAll('.', '\\.')}$`, 'm'));
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
