import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { makeTree, wasm } from '../server/tree.ts';
import { assertSameBytes } from '../support/bytes.ts';
import { buildModule } from '../support/module.ts';
import { Context, docker, labRegistry, run, withoutDocker } from './lab.ts';
import { type PushedPlugin, pushPlugins } from './pushedPlugins.ts';

const image = `${labRegistry}/plugin-mirror-test:image`;
const platforms = ['linux/amd64', 'linux/arm64'] as const;
/** The limits of a container in a restricted cluster: see deploy/kubernetes. */
const restricted = [
  '--read-only',
  '--cap-drop',
  'ALL',
  '--security-opt',
  'no-new-privileges',
  '--cpus',
  '0.5',
  '--memory',
  '256m',
];

const ABOUT = ['--build-arg', 'SOURCE=https://git.example/mirror', '--build-arg', 'REVISION=0123abc'];

describe('the image', { skip: withoutDocker() }, () => {
  let context: Context;
  let plugins: PushedPlugin[];

  before(async () => {
    plugins = await pushPlugins();
    const local = Buffer.from(plugins[0]?.wasm ?? []);
    context = await Context.create({
      registry: 'registry.example.com',
      plugins: {
        ...Object.fromEntries(plugins.map(({ name, version }) => [name, version])),
        'form-c': { versions: ['1.0.0'], aliases: { '0.9.0': '1.0.0' } },
        'local-one': { file: './local/main.wasm', versions: ['0.1.0'] },
      },
    });
    await context.write('local/main.wasm', local);
    plugins.push({ name: 'local-one', version: '0.1.0', wasm: local });
    const [formC] = plugins.filter(({ name }) => name === 'form-c');
    if (formC) plugins.push({ ...formC, version: '0.9.0' });
    await context.build(
      ...['--build-arg', `REGISTRY=${labRegistry}`],
      ...ABOUT,
      '--platform',
      platforms.join(','),
      '--tag',
      image,
      '--push',
    );
  });

  after(() => context?.remove());

  it('is healthy wherever its command line says that it listens', async t => {
    const container = await docker(
      'run',
      '--detach',
      '--pull',
      'always',
      image,
      'serve',
      '--host',
      '127.0.0.2',
      '--port',
      '9191',
    );
    t.after(() => docker('rm', '--force', container));
    for (let state = 'starting'; state !== 'healthy'; await pause(500)) {
      state = (await docker('inspect', '--format', '{{.State.Health.Status}}', container)).trim();
      assert.notEqual(state, 'unhealthy');
    }
  });

  for (const platform of platforms)
    it(`serves every plugin on ${platform}, read-only, without capabilities, in half a core`, async t => {
      const container = await docker(
        'run',
        '--detach',
        '--pull',
        'always',
        '--platform',
        platform,
        ...restricted,
        '--publish',
        '127.0.0.1:0:8080',
        image,
      );
      t.after(() => docker('rm', '--force', container));
      const port = Number(/:(\d+)$/m.exec(await docker('port', container, '8080'))?.[1]);
      await ready(port);
      for (const { name, version, wasm } of plugins) {
        const { status, headers, body } = await asGateway(port, `/plugins/${name}/${version}/plugin.wasm`);
        assert.equal(status, 200, `${name} ${version}`);
        assert.equal(headers['content-type'], 'application/wasm');
        assert.equal(headers['content-encoding'], undefined);
        assertSameBytes(body, wasm, `${name} ${version}`);
      }
      assert.match(String((await asGateway(port, '/plugins/snapshot-inventory.json')).body), /"form-a"/);

      assert.equal(await docker('exec', container, 'id', '-u'), '1000');
      await docker('exec', container, 'sh', '-c', 'curl -sf http://127.0.0.1:8080/ >/dev/null');
      assert.equal(await docker('exec', container, 'uname', '-m'), platform === 'linux/amd64' ? 'x86_64' : 'aarch64');
      await healthy(container);

      await docker('stop', '--time', '60', container);
      assert.equal(await docker('inspect', '--format', '{{.State.ExitCode}}', container), '0');
    });

  it('loses no download in a rolling update under load', async t => {
    const bytes = wasm(6_000_000);
    const tree = await makeTree(t, [{ name: 'large', version: '1.0.0', bytes }]);
    await chmod(tree, 0o755); // for the user of the image
    const start = async (): Promise<{ container: string; port: number }> => {
      const mount = ['--volume', `${tree}:/usr/share/nginx/html/plugins:ro`, '--publish', '127.0.0.1:0:8080'];
      const container = await docker('run', '--detach', ...restricted, ...mount, image);
      t.after(() => docker('rm', '--force', container));
      const port = Number(/:(\d+)$/m.exec(await docker('port', container, '8080'))?.[1]);
      await ready(port);
      return { container, port };
    };
    const old = [await start(), await start()];
    /** The endpoints of the Service, as the clients know them. */
    let ports = old.map(({ port }) => port);
    let [isDone, downloads] = [false, 0];
    const client = async (at: number): Promise<void> => {
      while (!isDone) {
        const port = ports[(at + downloads) % ports.length] ?? 0;
        // Some read as fast as they can, some take seconds.
        const { status, body } = await asGateway(port, '/plugins/large/1.0.0/plugin.wasm', (at % 3) * 20);
        assert.equal(status, 200);
        assertSameBytes(body, bytes, `download ${downloads}`);
        downloads++;
      }
    };
    const clients = Promise.all(Array.from({ length: 9 }, (_, at) => client(at)));
    const update = async (): Promise<void> => {
      for (const { container, port } of old) {
        const { port: added } = await start();
        ports = [...ports, added];
        const before = downloads;
        await eventually('loaded', async () => downloads >= before + 3);
        const stopped = docker('stop', '--time', '60', container);
        // Clients learn a second later that the pod is about to end (terminationGracePeriodSeconds, --drain-delay).
        await pause(1000);
        ports = ports.filter(one => one !== port);
        await stopped;
        assert.equal(await docker('inspect', '--format', '{{.State.ExitCode}}', container), '0');
      }
    };
    await Promise.race([update(), clients.then(() => assert.fail('the clients ended'))]);
    isDone = true;
    await clients;
    assert.ok(downloads >= 6, `${downloads} downloads`);
  });

  it('works for any user, without a home, and audits itself', async () => {
    const anyone = ['run', '--rm', ...restricted, '--user', '12345:0'];
    assert.match(await docker(...anyone, image, 'verify'), /intact: 8 versions/);
    assert.match(
      await docker(...anyone, '--entrypoint', 'sh', image, '-c', 'unset HOME; plugin-mirror verify'),
      /intact/,
    );
    assert.match(await docker(...anyone, image, '--help'), /Usage: plugin-mirror/);
    assert.match(await docker(...anyone, image, 'sync', '--help'), /--frozen/);
  });

  it('holds the same program and the same plugins, layer for layer, on both platforms', async () => {
    const [[runtime, ...first] = [], [otherRuntime, ...second] = []] = await Promise.all(platforms.map(layersOf));
    assert.deepEqual(first, second);
    assert.notEqual(runtime, otherRuntime);
  });

  it('has a layer for each plugin: after a change the build pushes that plugin and the catalog', async () => {
    const before = await layersOf('linux/amd64');
    const changed = buildModule({ seed: 'changed', sizeBytes: 310_000 });
    await context.write('local/main.wasm', changed);
    await context.build('--build-arg', `REGISTRY=${labRegistry}`, ...ABOUT, '--tag', image, '--push');
    const after = await layersOf('linux/amd64');
    assert.equal(after.filter(layer => !before.includes(layer)).length, 2);
    assert.equal(after.length, before.length);
  });

  it('holds no builder, no package manager and no program of root', async t => {
    const config = JSON.parse(await docker('image', 'inspect', '--format', '{{json .Config}}', image)) as {
      User: string;
      Labels: Record<string, string>;
      StopSignal: string;
    };
    assert.match(config.User, /^[1-9]\d*:\d+$/);
    assert.equal(config.StopSignal, 'SIGTERM');
    assert.equal(config.Labels['org.opencontainers.image.licenses'], 'Apache-2.0');
    assert.equal(config.Labels['org.opencontainers.image.source'], 'https://git.example/mirror');
    assert.equal(config.Labels['org.opencontainers.image.revision'], '0123abc');
    const root = await mkdtemp(join(tmpdir(), 'plugin-mirror-root-'));
    const container = await docker('create', image);
    t.after(async () => {
      await docker('rm', container);
      await rm(root, { recursive: true, force: true });
    });
    const list = join(root, 'list');
    await run('sh', ['-c', `docker export ${container} | tar -tv --numeric-owner -f - >${list}`]);
    const files = (await readFile(list, 'utf8')).trimEnd().split('\n');
    const named = (pattern: RegExp) => files.filter(line => pattern.test(line));
    assert.notDeepEqual(named(/ usr\/share\/nginx\/html\/plugins\/.*plugin\.wasm$/), []);
    assert.deepEqual(named(/^[^l](?:.{4}w|.{7}w).* (?:opt|usr)\//), [], 'only root may write them');
    assert.deepEqual(
      named(/ (?:opt|usr)\//).filter(line => !/^\S+ 0\/0 /.test(line)),
      [],
      'they are those of root',
    );
    assert.deepEqual(named(/^-..[sS]|^-.{5}[sS]/), [], 'no setuid or setgid program');
    assert.deepEqual(
      named(/\/s?bin\/(?:npm|npx|yarn|corepack|apt|apt-get|dpkg|perl|gpgv|su|mount|passwd)(?: ->.*)?$/),
      [],
    );
    const modules = await docker('run', '--rm', '--entrypoint', 'ls', image, '/opt/plugin-mirror/node_modules');
    assert.doesNotMatch(modules, /^(?:typescript|tsx|knip|playwright-core)$/m);
  });
});

async function layersOf(platform: string): Promise<string[]> {
  await docker('pull', '--quiet', '--platform', platform, image);
  return JSON.parse(
    await docker('image', 'inspect', '--platform', platform, '--format', '{{json .RootFS.Layers}}', image),
  ) as string[];
}

interface Got {
  readonly status: number | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** The bare GET of Istio's Wasm fetcher. `pauseMs`: how long it waits after each piece that it reads. */
async function asGateway(port: number, path: string, pauseMs = 0): Promise<Got> {
  const headers = { 'user-agent': 'Go-http-client/1.1', 'accept-encoding': 'gzip' };
  const outgoing = request({ host: '127.0.0.1', port, path, headers, agent: false }).end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    if (pauseMs > 0) await pause(pauseMs);
  }
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) };
}

/** Polls, because a container does not report when it listens. Another architecture is slow under emulation. */
async function ready(port: number): Promise<void> {
  await eventually('ready', async () => (await asGateway(port, '/readyz')).status === 200);
}

async function healthy(container: string): Promise<void> {
  const asked = ['inspect', '--format', '{{.State.Health.Status}}', container];
  await eventually('healthy', async () => (await docker(...asked)) === 'healthy');
}

async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 120_000;
  while (!(await holds().catch(() => false))) {
    if (Date.now() > deadline) throw new Error(`not ${what} within two minutes`);
    await pause(250);
  }
}
