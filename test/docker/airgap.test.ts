import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { airgapCommands } from '../cli/airgapCommands.ts';
import { ENTRY, plainEnvironment } from '../support/cli.ts';
import { imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { startRegistry } from '../support/registry.ts';
import { Context, run, withoutDocker } from './lab.ts';

const exec = promisify(execFile);
const NAME = `plugin-mirror-air-${process.pid}`;

/** A side of the gap: a folder, a `plugin-mirror` and a `docker` that builds with this machine's npm and network. */
async function openSide(t: TestContext, dir: string): Promise<(commands: string) => Promise<string>> {
  const bin = await mkdtemp(join(tmpdir(), 'airgap-bin-'));
  t.after(() => rm(bin, { recursive: true, force: true }));
  const npm = await run('npm', ['config', 'get', 'registry']);
  const docker = await run('sh', ['-c', 'command -v docker']);
  const build = `build) shift; exec ${docker} build --network host --build-arg NPM_REGISTRY=${npm} "$@" ;;`;
  const scripts = {
    'plugin-mirror': `exec '${process.execPath}' '${ENTRY}' "$@"`,
    docker: `case "$1" in ${build} *) exec ${docker} "$@" ;; esac`,
  };
  for (const [name, text] of Object.entries(scripts)) {
    await run('sh', ['-c', 'printf "%s\\n" "#!/bin/sh" "$1" >"$0"', join(bin, name), text]);
    await chmod(join(bin, name), 0o755);
  }
  const { DOCKER_HOST, DOCKER_CONFIG } = process.env;
  const env = plainEnvironment({ DOCKER_HOST, DOCKER_CONFIG, PATH: `${bin}:${process.env.PATH}` });
  return async commands => (await exec('sh', ['-ec', commands], { cwd: dir, env, maxBuffer: 64 * 1024 * 1024 })).stdout;
}

/** The document's commands with names that no other run uses, and a port that Docker chooses. */
function ownNames(commands: string): string {
  return commands
    .replaceAll('plugin-mirror:', `${NAME}:`)
    .replaceAll('--name plugin-mirror', `--name ${NAME}`)
    .replaceAll('--volume plugins:', `--volume ${NAME}:`)
    .replaceAll('8080:8080', '127.0.0.1::8080');
}

async function assertServed(module: Buffer): Promise<void> {
  const host = (await run('docker', ['port', NAME, '8080/tcp'])).split('\n')[0];
  const address = `http://${host}/plugins/a/1.0.0/plugin.wasm`;
  const curl = ['-fsS', '--retry', '60', '--retry-delay', '1', '--retry-all-errors', address];
  const { stdout } = await exec('curl', curl, { encoding: 'buffer', maxBuffer: 1e8 });
  assert.ok(stdout.equals(module));
}

describe('the commands of docs/airgap.md in containers', { skip: withoutDocker() }, () => {
  it('carry the image alone, and a bundle next to the image of the program', async t => {
    const registry = await startRegistry();
    const module = buildModule({ seed: 'a' });
    registry.push('plugins/a', '1.0.0', imageFormC({ wasm: module }));
    const near = await Context.create({ registry: registry.host, plugins: { a: '1.0.0' } });
    const far = join(near.dir, 'plugins'); // not in the build context
    await mkdir(far);
    const clean = async (): Promise<void> => {
      for (const words of [
        ['rm', '--force', '--volumes', NAME],
        ['volume', 'rm', '--force', NAME],
        ['rmi', '--force', `${NAME}:program`, `${NAME}:plugins`],
      ])
        await run('docker', words).catch(() => undefined);
    };
    t.after(async () => {
      await clean();
      await registry.close();
      await near.remove();
    });
    const [nearSh, farSh] = [await openSide(t, near.dir), await openSide(t, far)];
    const commands = await airgapCommands();
    const carry = async (names: readonly string[]): Promise<void> => {
      for (const name of names) await copyFile(join(near.dir, name), join(far, name));
      for (const name of names) if (/^(?:image|program)/.test(name)) await rm(join(near.dir, name));
      await clean();
    };
    const command = (name: string): string => ownNames(commands.get(name) ?? '');

    assert.match(await nearSh(command('The image alone, near')), /intact: 1 version/);
    await carry(['image.tar', 'image.tar.sha256']);
    assert.match(await farSh(command('The image alone, far')), /image\.tar: OK[\s\S]*intact: 1 version/);
    await assertServed(module);

    await nearSh(command('A bundle and a server, near in containers'));
    await carry(['plugins.tar', 'plugins.tar.sha256', 'program.tar']);
    await registry.close();
    const loaded = await farSh(command('A bundle and a server, far in containers'));
    assert.match(loaded, /plugins\.tar: OK[\s\S]*1 of 1 in[\s\S]*intact: 1 version/);
    await assertServed(module);
  });
});
