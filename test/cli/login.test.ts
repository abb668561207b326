import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { exitCodeOf } from '../../cli/exit.ts';
import { OptionConflict, OptionInvalid } from '../../cli/options/errors.ts';
import { checkOptions } from '../../cli/options/registryOptions.ts';
import type { RegistryFlags } from '../../cli/options/tables.ts';
import { renderRefusal } from '../../cli/render/errors.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { openScene, type Scene } from '../support/cli.ts';
import { readFlags } from '../support/flags.ts';
import { imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { type RegistryOptions, startRegistry, type TestRegistry } from '../support/registry.ts';
import { sample, slow, slowUnless } from '../support/slow.ts';

const SECRET = 'planted-pässword:1';
const PRIVATE = { kind: 'basic', user: 'robot$mirror', password: SECRET } as const;
const basic = `Basic ${Buffer.from(`robot$mirror:${SECRET}`).toString('base64')}`;

async function another(t: TestContext, options: RegistryOptions): Promise<TestRegistry> {
  const registry = await startRegistry(options);
  t.after(() => registry.close());
  registry.push('plugins/a', '1.0.0', imageFormC({ wasm: buildModule({ seed: 'other' }) }));
  return registry;
}

const toldTo = (registry: TestRegistry) =>
  registry.requests.filter(({ headers }) => headers.authorization === basic).length;

async function withLogin(scene: Scene, args: readonly string[], how: 'stdin' | 'variable' = 'stdin') {
  const login = ['sync', '--username', 'robot$mirror', ...args];
  const ran =
    how === 'stdin'
      ? await scene.run([...login, '--password-stdin'], { input: `${SECRET}\n` })
      : await scene.run(login, { env: { PLUGIN_MIRROR_PASSWORD: SECRET } });
  const said = ran.stdout + ran.stderr;
  assert.ok(!said.includes(SECRET) && !said.includes(basic.slice(6)), 'a secret was printed');
  return ran;
}

describe('--username with a password', { concurrency: 4 }, () => {
  for (const how of ['stdin', 'variable'] as const)
    it(
      `from ${how} goes to the manifest’s registry, and to no other host or mirror`,
      slowUnless(how === 'stdin'),
      async t => {
        const scene = await openScene(t, { auth: PRIVATE });
        const [other, mirror] = [await another(t, { auth: PRIVATE }), await another(t, { auth: PRIVATE })];
        scene.push('own', '1.0.0');
        await scene.list(
          { own: '1.0.0', a: { image: `${other.host}/plugins/a`, versions: ['1.0.0'] } },
          { mirrors: { [scene.registry.host]: [mirror.host] } },
        );
        const ran = await withLogin(scene, [], how);
        assert.equal(ran.code, 1, ran.stderr);
        assert.match(ran.stderr, /REGISTRY_UNAUTHORIZED/);
        assert.match(ran.stdout, /1 fetched/);
        assert.ok(toldTo(scene.registry) > 0);
        assert.ok(other.count() > 0 && mirror.count() > 0);
        assert.equal(toldTo(other) + toldTo(mirror), 0);
      },
    );

  it('goes to the host of --registry if that is given, and not to the manifest’s', async t => {
    const scene = await openScene(t, { auth: PRIVATE });
    const other = await another(t, { auth: PRIVATE });
    await scene.list({ a: '1.0.0' }, { mirrors: { [other.host]: [scene.registry.host] } });
    const ran = await withLogin(scene, ['--registry', other.host]);
    assert.equal(ran.code, 0, ran.stderr);
    assert.ok(toldTo(other) > 0);
    assert.equal(toldTo(scene.registry), 0);
  });

  it('goes to a token server of the registry, never to the storage behind it', slow, async t => {
    const auth = { kind: 'bearer', user: 'robot$mirror', password: SECRET, realm: 'cross-origin' } as const;
    const scene = await openScene(t, { auth, blobRedirect: 'cross-origin' });
    scene.push('own', '1.0.0');
    await scene.list({ own: '1.0.0' });
    const ran = await withLogin(scene, []);
    assert.equal(ran.code, 0, ran.stderr);
    const told = scene.registry.requests.filter(({ headers }) => headers.authorization === basic);
    assert.deepEqual(
      told.map(({ server }) => server),
      ['token'],
    );
  });

  const variable = { PLUGIN_MIRROR_PASSWORD: SECRET };

  it('is refused if it comes twice or only in part', async () => {
    for (const [args, env, words] of [
      [['--username', 'me'], {}, /--username needs a password/],
      [['--username', 'me'], { PLUGIN_MIRROR_PASSWORD: '' }, /--username needs a password/],
      [['--password-stdin'], {}, /--password-stdin needs a user name/],
      [[], variable, /PLUGIN_MIRROR_PASSWORD needs a user name/],
      [['--username', 'me', '--password-stdin'], variable, /both give a password/],
      [['--username', 'me:you'], variable, /cannot be sent/],
    ] as const) {
      const given = 'PLUGIN_MIRROR_PASSWORD' in env && env.PLUGIN_MIRROR_PASSWORD !== '';
      await assert.rejects(
        checkOptions(readFlags<RegistryFlags>(['sync', ...args], env), given, false),
        (error: unknown) => {
          assert.ok(error instanceof OptionConflict || error instanceof OptionInvalid, String(error));
          assert.equal(exitCodeOf(error), 2);
          assert.match(error.message, words);
          return !renderRefusal(error, { color: false }).includes(SECRET);
        },
      );
    }
  });

  it('that is empty ends in 2 before any request; a trailing newline does not belong to it', async t => {
    const scene = await openScene(t);
    scene.push('own', '1.0.0');
    await scene.list({ own: '1.0.0' });
    for (const [args, env, input, words] of sample([
      [[], variable, undefined, /PLUGIN_MIRROR_PASSWORD needs a user name/],
      [['--username', 'me', '--password-stdin'], {}, '', /contains no password/],
      [['--username', 'me', '--password-stdin'], {}, 'one\ntwo\n', /contains no password/],
      [['--username', 'me', '--password-stdin'], {}, 'x'.repeat(1_100_000), /more than 1 MiB/],
      [['--username', 'me', '--password-stdin'], {}, 'p\0a\0s\0s\0', /UTF-16/],
    ] as const)) {
      const ran = await scene.run(['sync', ...args], { env, ...(input === undefined ? {} : { input }) });
      assert.equal(ran.code, 2, `${args}: ${ran.stderr}`);
      assert.match(ran.stderr, words);
      assert.ok(!ran.stderr.includes(SECRET));
    }
    assert.equal(scene.registry.count(), 0);
    const crlf = await scene.run(['sync', '--username', 'me', '--password-stdin'], { input: 'x\r\n' });
    assert.equal(crlf.code, 0, crlf.stderr);
  });
});

describe('--insecure and --plain-http', { concurrency: 4 }, () => {
  const authority = new CertificateAuthority();

  it('take hosts from the command line and the environment', async t => {
    const scene = await openScene(t, { tls: authority.issue() });
    const other = await another(t, { tls: authority.issue() });
    scene.push('own', '1.0.0');
    await scene.list({ own: '1.0.0', a: { image: `${other.host}/plugins/a`, versions: ['1.0.0'] } });
    const { host } = scene.registry;
    const run = (args: readonly string[], env: Record<string, string> = {}) =>
      scene.run(['sync', '--dry-run', '--format', 'json', ...args], { env });
    for (const [args, env, code] of sample([
      [[], { PLUGIN_MIRROR_INSECURE: `${host}, ${other.host}` }, 0],
      [['--insecure', host], {}, 1],
      [['--insecure', host, other.host], {}, 0],
    ] as const)) {
      const ran = await run(args, env);
      assert.equal(ran.code, code, `${args} ${JSON.stringify(env)}: ${ran.stderr}`);
    }
  });

  it('are switches or lists of hosts, in every form', () => {
    const both = ['a:1', 'b:2'];
    for (const [args, env, expected] of [
      [['--insecure', 'a:1'], {}, ['a:1']],
      [[], { PLUGIN_MIRROR_INSECURE: 'a:1' }, ['a:1']],
      [['--insecure', 'a:1', 'b:2'], {}, both],
      [['--insecure=a:1,b:2'], {}, both],
      [['--insecure', 'a:1', '--insecure', 'b:2'], {}, both],
      [['--insecure'], {}, true],
      [[], { PLUGIN_MIRROR_INSECURE: 'a:1, b:2' }, both],
      [[], { PLUGIN_MIRROR_INSECURE: 'true' }, true],
      [[], { PLUGIN_MIRROR_INSECURE: 'false' }, undefined],
      [[], { PLUGIN_MIRROR_INSECURE: '' }, undefined],
    ] as const)
      assert.deepEqual(
        readFlags<RegistryFlags>(['sync', ...args], env).insecure,
        expected,
        `${args} ${JSON.stringify(env)}`,
      );
    for (const wrong of [
      ['--insecure', 'https://x'],
      ['--insecure', 'a/b'],
      ['--plain-http', 'a_b:x'],
    ])
      assert.throws(
        () => readFlags(['sync', ...wrong]),
        (error: unknown) => exitCodeOf(error) === 2,
        String(wrong),
      );
  });

  it('certificates come from the folder of --certs-dir', slow, async t => {
    const scene = await openScene(t, { tls: authority.issue() });
    scene.push('own', '1.0.0');
    await scene.list({ own: '1.0.0' });
    await scene.write(`certs/${scene.registry.host}/ca.crt`, authority.cert);
    assert.equal((await scene.sync()).code, 1);
    const ran = await scene.sync('--certs-dir', 'certs');
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal((await scene.sync('--certs-dir', 'nowhere')).code, 2);
  });
});
