import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { chmod, copyFile, mkdir, readdir } from 'node:fs/promises';
import process from 'node:process';
import { describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { ENTRY, openScene, printed, type Scene, watch } from '../support/cli.ts';
import { startRegistry } from '../support/registry.ts';
import { slow } from '../support/slow.ts';
import { airgapCommands } from './airgapCommands.ts';

const exec = promisify(execFile);

/** A scene with two plugins and a `plugin-mirror` on the PATH. Its folder is the side with a network, `far` the other one. */
async function openSides(t: TestContext) {
  const scene = await openScene(t);
  const module = scene.push('a', '1.0.0');
  scene.push('b', '2.0.0');
  await scene.list({ a: '1.0.0', b: '2.0.0' });
  await mkdir(scene.path('far'));
  await scene.write('bin/plugin-mirror', `#!/bin/sh\nexec '${process.execPath}' '${ENTRY}' "$@"\n`);
  await chmod(scene.path('bin/plugin-mirror'), 0o755);
  await scene.write('bin/node', `#!/bin/sh\nexec '${process.execPath}' "$@"\n`);
  await chmod(scene.path('bin/node'), 0o755);
  const env = scene.environment({ PATH: `${scene.path('bin')}:${process.env.PATH}`, PLUGIN_MIRROR_PORT: '0' });
  const sh = async (commands: string, cwd = scene.dir): Promise<string> =>
    (await exec('sh', ['-ec', commands], { cwd, env })).stdout;
  const carry = async (): Promise<void> => {
    for (const name of await readdir(scene.dir))
      if (/^(?:plugins\.tar|plugin-mirror-)/.test(name)) await copyFile(scene.path(name), scene.path('far', name));
    await scene.registry.close();
  };
  return { scene, module, env, sh, carry };
}

async function assertServed(address: string, module: Buffer): Promise<void> {
  const served = await fetch(`${address}/plugins/a/1.0.0/plugin.wasm`);
  assert.ok(Buffer.from(await served.arrayBuffer()).equals(module));
  const listed = await fetch(`${address}/v2/plugins/a/tags/list`);
  assert.deepEqual(await listed.json(), { name: 'plugins/a', tags: ['1.0.0'] });
}

describe('the commands of docs/airgap.md', { concurrency: 2 }, () => {
  it('are at most five on each side, in each way', async () => {
    for (const [name, commands] of await airgapCommands())
      assert.ok(commands.trim().split('\n').length <= 5, `${name}:\n${commands}`);
  });

  it('carry a bundle and the program to a server', slow, async t => {
    const { scene, module, env, sh, carry } = await openSides(t);
    const commands = await airgapCommands();
    assert.match(await sh(commands.get('A bundle and a server, near') ?? ''), /^✓ intact: 2 versions/m);
    await carry();
    const far = (commands.get('A bundle and a server, far') ?? '').trim().split('\n');
    const serve = far.pop() ?? '';
    const loaded = await sh(far.join('\n'), scene.path('far'));
    assert.match(loaded, /^plugins\.tar: OK$/m);
    assert.doesNotMatch(loaded, /^failed/m);
    assert.match(await sh('plugin-mirror check --from plugins.tar', scene.path('far')), /bundle agree/);
    const running = watch(spawn('sh', ['-c', `exec ${serve}`], { cwd: scene.path('far'), env }));
    t.after(() => running.child.kill());
    await printed(running, /http:\/\/\S+:\d+/);
    const [, port] = /http:\/\/\S+?:(\d+)/.exec(running.output()) ?? [];
    await assertServed(`http://127.0.0.1:${port}`, module);
  });

  it('carry a bundle in parts to a private registry', slow, async t => {
    const { scene, sh, carry } = await openSides(t);
    const target = await startRegistry();
    t.after(() => target.close());
    const commands = await airgapCommands();
    assert.match(await sh(commands.get('A bundle and a private registry, near') ?? ''), /^✓ intact: 2 versions/m);
    const manifest = stored(scene, 'plugins/a', '1.0.0');
    await carry();
    const far = commands.get('A bundle and a private registry, far') ?? '';
    const pushed = await sh(far.replaceAll('harbor.example.com', target.host), scene.path('far'));
    assert.match(pushed, /^plugins\.tar\.001: OK$/m);
    assert.match(pushed, /2 pushed · 0 there already[\s\S]*0 to push · 2 there already/);
    assert.ok(target.stored('higress/plugins/a', '1.0.0')?.equals(manifest));
  });
});

function stored({ registry }: Scene, repository: string, tag: string): Buffer {
  const found = registry.stored(repository, tag);
  assert.ok(found !== undefined);
  return found;
}
