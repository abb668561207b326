import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { openLayout } from '../../layout/openLayout.ts';
import { openBundle } from '../../mirror/bundle/openBundle.ts';
import { type PushReport, pushImages } from '../../mirror/bundle/pushImages.ts';
import { type ToolCommands, toolCommands } from '../../mirror/bundle/toolCommands.ts';
import { makeJob } from '../../mirror/plan/job.ts';
import { Session } from '../../mirror/session.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import { openPusher } from '../../registry/push/openPusher.ts';
import { a1, a2, type BundleScene, everything, index, inIndex, openBundleScene, sbom } from '../mirror/bundleScene.ts';
import { sigTag } from '../mirror/signing.ts';
import { indexOf, MEDIA, type TestImage } from '../support/images.ts';
import { labRegistry, withoutTools } from './lab.ts';

const exec = promisify(execFile);
const { signal } = new AbortController();
/** Below it everything that this run pushes, so that nothing is there already. */
const PREFIX = `pm-peers-${process.pid}-${Date.now()}`;
const NAMED: readonly [string, TestImage][] = [
  ['plugins/a:1.0.0', a1],
  ['plugins/a:2.0.0', a2],
  ['plugins/b:1.0.0', index],
];

async function digestAt(registry: string, name: string): Promise<string | null> {
  const [, repository, reference] = /^(.*?)[:@](.*)$/.exec(name) ?? [];
  const accept = [MEDIA.manifest, MEDIA.index, MEDIA.dockerManifest, MEDIA.dockerList].join(', ');
  const path = `http://${registry}/v2/${repository}/manifests/${reference}`;
  const { headers } = await fetch(path, { method: 'HEAD', headers: { accept } });
  return headers.get('docker-content-digest');
}

async function assertThere(registry: string, prefix: string, names = NAMED): Promise<void> {
  for (const [name, { digest }] of names)
    assert.equal(await digestAt(registry, `${prefix}/${name}`), digest, `${registry}/${prefix}/${name}`);
}

describe('other tools and a bundle', { skip: withoutTools('skopeo', 'regctl', 'crane', 'ctr') }, () => {
  let scene: BundleScene;
  let clean: () => Promise<void>;
  before(async () => {
    scene = await openBundleScene({ after: given => (clean = given) });
    await scene.list(everything);
    await scene.pack('b.tar');
    await scene.pack('folder', { kind: 'folder', frozen: true });
  });
  after(() => clean());

  const toolsOf = async (name: string): Promise<Map<string, ToolCommands>> => {
    const layout = await openLayout(resolve(scene.dir, name));
    try {
      return new Map((await toolCommands(layout)).map(tool => [tool.tool, tool]));
    } finally {
      await layout.close();
    }
  };
  /** Runs printed commands, with the options for a registry over plain http. */
  const runAll = async (tool: ToolCommands | undefined, prefix: string): Promise<string> => {
    const commands = (tool?.commands ?? [])
      .join('\n')
      .replaceAll('oras cp ', 'oras cp --to-plain-http ')
      .replaceAll('skopeo copy ', 'skopeo copy --dest-tls-verify=false ');
    const env = {
      ...process.env,
      HOME: scene.dir,
      REGISTRY: `${labRegistry}/${prefix}`,
      REGCTL_CONFIG: scene.path('regctl.json'),
    };
    const { stdout } = await exec('sh', ['-ec', commands], { cwd: scene.dir, env, maxBuffer: 1e8 });
    return stdout;
  };

  for (const name of ['b.tar', 'folder'])
    for (const tool of ['ORAS', 'skopeo', 'regctl'])
      it(`${tool} copies every image of ${name} to a registry, with the commands that are printed`, async () => {
        if (tool === 'regctl')
          await exec('regctl', ['registry', 'set', labRegistry, '--tls', 'disabled'], {
            env: { ...process.env, REGCTL_CONFIG: scene.path('regctl.json') },
          });
        const prefix = `${PREFIX}/${tool.toLowerCase()}-${name.replace('.', '-')}`;
        await runAll((await toolsOf(name)).get(tool), prefix);
        await assertThere(labRegistry, prefix);
        const signature = await digestAt(labRegistry, `${prefix}/plugins/a:${sigTag(a1.digest)}`);
        assert.match(String(signature), /^sha256:/);
      });

  it('crane pushes the folder', async () => {
    await runAll((await toolsOf('folder')).get('crane'), PREFIX);
    for (const { digest } of [a1, a2, index, inIndex])
      assert.equal(await digestAt(labRegistry, `${PREFIX}/plugin-mirror/bundle@${digest}`), digest);
  });

  it('ctr and docker load it', async t => {
    const socket = join((process.env.DOCKER_HOST ?? '').replace('unix://', ''), '../docker/containerd/containerd.sock');
    const client = `ctr --address ${socket} --namespace pm-peers-${process.pid}`;
    const host = scene.registry.host;
    t.after(async () => {
      await exec('sh', [
        '-c',
        `${client} images ls -q | xargs -r ${client} images rm; ${client.replace(/--namespace.*/, '')} namespaces rm pm-peers-${process.pid}; docker images --format '{{.ID}} {{.Repository}}' | grep ' ${host}/' | cut -d' ' -f1 | xargs -r docker rmi --force`,
      ]).catch(() => undefined);
    });
    const tools = await toolsOf('b.tar');
    const ctr = tools.get('ctr')?.commands.map(it => it.replace('ctr --namespace k8s.io', client)) ?? [];
    await runAll({ tool: 'ctr', about: '', commands: ctr }, PREFIX);
    const { stdout } = await exec('sh', ['-c', `${client} images ls`]);
    for (const [name, { digest }] of NAMED) assert.match(stdout, new RegExp(`${host}/${name} .*${digest}`));
    assert.match(await runAll(tools.get('docker'), PREFIX), new RegExp(`Loaded image: ${host}/plugins/a:2\\.0\\.0`));
  });

  it('skopeo is left out for images of Docker types, which it does not find, and the other tools copy them', async t => {
    const named: [string, TestImage][] = [
      ['plugins/d:1', inIndex],
      ['plugins/e:1', indexOf([{ platform: 'linux/amd64', image: inIndex }], { docker: true })],
    ];
    const own = await openBundleScene(t);
    for (const [name, image] of named) own.registry.push(name.replace(':1', ''), '1', image);
    await own.list({ ...everything, d: '1', e: '1' });
    await own.pack('b.tar');
    await own.pack('folder', { kind: 'folder', frozen: true });
    for (const name of ['b.tar', 'folder']) {
      const tools = await toolsOf(own.path(name));
      const prefix = `${PREFIX}/types-${name.replace('.', '-')}`;
      const copied = async (tool: string) => {
        await runAll(tools.get(tool), `${prefix}/${tool.toLowerCase()}`);
        return `${prefix}/${tool.toLowerCase()}`;
      };
      await assertThere(labRegistry, await copied('skopeo'));
      await exec('regctl', ['registry', 'set', labRegistry, '--tls', 'disabled'], {
        env: { ...process.env, REGCTL_CONFIG: scene.path('regctl.json') },
      });
      for (const tool of ['ORAS', 'regctl']) await assertThere(labRegistry, await copied(tool), [...NAMED, ...named]);
      const layout = `${name === 'folder' ? 'oci' : 'oci-archive'}:${own.path(name)}`;
      for (const [image] of named)
        await assert.rejects(
          exec('skopeo', ['inspect', '--raw', `${layout}:${own.registry.host}/${image}`], { cwd: own.dir }),
          /no descriptor found for reference/,
        );
    }
  });

  it('is pushed by plugin-mirror to distribution and to a registry without the referrers API, by digest', async t => {
    const crane = await serveCrane();
    t.after(() => crane.child.kill());
    for (const registry of [labRegistry, crane.host]) {
      const prefix = `${PREFIX}/push`;
      const first = await push(registry, prefix);
      assert.deepEqual(
        first.outcomes.map(({ status, error }) => error?.message ?? status),
        ['pushed', 'pushed', 'pushed'],
        registry,
      );
      await assertThere(registry, prefix);
      assert.match(String(await digestAt(registry, `${prefix}/plugins/a:${sigTag(a1.digest)}`)), /^sha256:/);
      assert.equal(await digestAt(registry, `${prefix}/plugins/a@${sbom.digest}`), sbom.digest);
      const { stdout } = await exec('oras', [
        'discover',
        '--plain-http',
        '--format',
        'json',
        `${registry}/${prefix}/plugins/a:2.0.0`,
      ]);
      assert.ok(stdout.includes(sbom.digest), stdout);
      const second = await push(registry, prefix);
      assert.deepEqual([second.uploadedBlobs, second.mountedBlobs], [0, 0]);
    }
  });

  async function push(registry: string, prefix: string): Promise<PushReport> {
    const pusher = openPusher({ retries: 1 });
    const { layout, manifest, close } = await openBundle(scene.path('b.tar'));
    const session = new Session({ openRegistry: onEvent => openRegistry({ layout, onEvent }), signal });
    const job = makeJob(manifest, { dir: scene.path('unused'), concurrency: 4 });
    try {
      const target = { pusher, registry, prefix, force: false, dryRun: false, attachments: true };
      return await pushImages(job, target, session);
    } finally {
      await pusher.close();
      await session.registry.close();
      await close();
    }
  }
});

/** `crane registry serve` on a port of its own. */
async function serveCrane(): Promise<{ readonly child: ChildProcess; readonly host: string }> {
  const child = spawn('crane', ['registry', 'serve', '--address', '127.0.0.1:0'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (text += chunk));
  let port: string | undefined;
  while (port === undefined) {
    await Promise.race([once(child.stderr, 'data'), once(child.stdout, 'data'), once(child, 'exit')]);
    [, port] = /serving on port (\d+)/.exec(text) ?? [];
    assert.equal(child.exitCode, null, text);
  }
  return { child, host: `127.0.0.1:${port}` };
}
