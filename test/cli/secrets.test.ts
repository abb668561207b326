import assert from 'node:assert/strict';
import { chmod, readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { answerError } from '../support/answer.ts';
import { listing, openScene, type Ran, type RunOptions, type Scene } from '../support/cli.ts';
import { redirect, status } from '../support/faults.ts';
import { startProxy } from '../support/proxy.ts';
import type { RequestRecord } from '../support/records.ts';
import type { Fault } from '../support/script.ts';
import { sample, slow } from '../support/slow.ts';

const PASSWORD = 'pLanted-pa55word';
const IDENTITY = 'pLanted-1dentity';
const PROXY_PASSWORD = 'pLanted-pr0xy';
const SIGNATURE = 'pLanted-s1gnature';
const USER = 'robot';
const BASIC = Buffer.from(`${USER}:${PASSWORD}`).toString('base64');

/** Sees that no secret stands in what a run printed, nor in any name or content of a file that it wrote. */
async function assertSecretFree(scene: Scene, runs: readonly Ran[]): Promise<void> {
  const planted = [PASSWORD, IDENTITY, PROXY_PASSWORD, SIGNATURE, BASIC];
  const secrets = [...planted, ...planted.map(encodeURIComponent), ...scene.registry.tokensIssued];
  const files = Object.keys(await listing(scene.dir)).filter(path => !path.endsWith('/') && !path.startsWith('given/'));
  const written = await Promise.all(
    files.map(async path => [path, await readFile(scene.path(path), 'latin1')] as const),
  );
  const printed = runs.flatMap(({ stdout, stderr }) => [['stdout', stdout] as const, ['stderr', stderr] as const]);
  for (const secret of new Set(secrets))
    for (const [where, text] of [...printed, ...written]) {
      assert.ok(!text.includes(secret), `${secret} stands in ${where}: ${text.slice(0, 2000)}`);
      assert.ok(!where.includes(secret), `${secret} is a file's name: ${where}`);
    }
}

/** An error that repeats what the client sent, as careless servers do. */
const echo = (code: number): Fault => ({
  name: 'echo',
  rewrite: (_, { request }) =>
    answerError(code, 'ECHO', `you sent ${request.headers.authorization} ${request.headers['proxy-authorization']}`),
});

const FAULTS: readonly Fault[] = [
  echo(403),
  echo(500),
  status(401, { message: 'no' }),
  redirect(`http://127.0.0.1:1/blob?sig=${SIGNATURE}&Signature=${SIGNATURE}`),
  redirect(`http://me:${PASSWORD}@127.0.0.1:1/`),
];

async function everyRun(scene: Scene, options: RunOptions, faults: readonly Fault[]): Promise<Ran[]> {
  scene.push('a', '1');
  await scene.list({ a: '1', gone: '1' });
  const runs: Ran[] = [];
  const sync = async (...args: string[]) => runs.push(await scene.run(['sync', '--retries', '0', ...args], options));
  await sync('--only', 'a');
  assert.equal(runs[0]?.code, 0, runs[0]?.stderr);
  await sync('--format', 'json', '--rehash');
  assert.equal(runs[1]?.code, 1);
  for (const fault of faults) {
    const when = ({ headers }: RequestRecord) => fault.name !== 'echo' || headers.authorization !== undefined;
    scene.registry.script([{ kind: 'manifest', when, fault }]);
    await sync('--no-lock', '--out', 'fresh', '--cache-size', '0');
    assert.equal(runs.at(-1)?.code, 1, fault.name);
  }
  scene.registry.script([]);
  runs.push(await scene.run(['check', '--format', 'json'], options));
  return runs;
}

describe('a secret is never printed nor written', { concurrency: 2 }, () => {
  it('if it comes from docker’s config.json', async t => {
    const scene = await openScene(t, { auth: { kind: 'basic', user: USER, password: PASSWORD } });
    const auths = { [scene.registry.host]: { auth: BASIC } };
    await scene.write('given/config.json', JSON.stringify({ auths }));
    const runs = await everyRun(scene, { env: { DOCKER_CONFIG: scene.path('given') } }, FAULTS);
    await assertSecretFree(scene, runs);
  });

  it('if it comes from standard input or the environment and is exchanged for tokens', async t => {
    const auth = { kind: 'bearer', user: USER, password: PASSWORD, realm: 'cross-origin' } as const;
    const scene = await openScene(t, { auth });
    const options = { env: { PLUGIN_MIRROR_USERNAME: USER, PLUGIN_MIRROR_PASSWORD: PASSWORD } };
    const runs = await everyRun(scene, options, FAULTS.slice(0, 1));
    scene.registry.script([{ kind: 'token', fault: echo(401) }]);
    const piped = ['sync', '--no-lock', '--username', USER, '--password-stdin', '--retries', '0', '--out', 'other'];
    const failed = await scene.run(piped, { input: `${PASSWORD}\n` });
    assert.equal(failed.code, 1);
    scene.registry.script([]);
    const good = await scene.run([...piped, '--only', 'a'], { input: `${PASSWORD}\n` });
    assert.equal(good.code, 0, good.stderr);
    assert.ok(scene.registry.tokensIssued.length > 1);
    await assertSecretFree(scene, [...runs, failed, good]);
  });

  it('if it is the identity token of a credential helper, also not in a child’s command line', slow, async t => {
    const scene = await openScene(t, { auth: { kind: 'bearer', anonymous: false, identityToken: IDENTITY } });
    await scene.write('given/config.json', JSON.stringify({ credHelpers: { [scene.registry.host]: 'planted' } }));
    const said = JSON.stringify({ ServerURL: scene.registry.host, Username: '<token>', Secret: IDENTITY });
    const helper = `#!/bin/sh\ncat > "$HOME/asked"\ntr '\\0' ' ' < /proc/$$/cmdline >> "$HOME/argv"\necho '${said}'\n`;
    await scene.write('given/bin/docker-credential-planted', helper);
    await chmod(scene.path('given/bin/docker-credential-planted'), 0o755);
    const env = { DOCKER_CONFIG: scene.path('given'), PATH: `${scene.path('given/bin')}:${process.env.PATH}` };
    const runs = await everyRun(scene, { env }, FAULTS.slice(0, 1));
    assert.match(await scene.read('home/argv'), /docker-credential-planted get/);
    await assertSecretFree(scene, runs);
  });

  it('if it is the password of a proxy that accepts or refuses it', slow, async t => {
    const scene = await openScene(t);
    const proxy = await startProxy({
      user: USER,
      password: PROXY_PASSWORD,
      routes: { 'registry.test': scene.registry.host },
    });
    t.after(() => proxy.close());
    scene.push('a', '1');
    await scene.write('manifest.json', '{"registry":"registry.test","plugins":{"a":"1"}}');
    const through = (url: string, ...args: string[]) =>
      scene.run(['sync', '--plain-http', '--retries', '0', '--no-lock', ...args], {
        env: { HTTP_PROXY: url, http_proxy: url },
      });
    const good = await through(proxy.urlWithCredentials);
    assert.equal(good.code, 0, good.stderr);
    const other = proxy.url.replace('://', `://${USER}:${PASSWORD}@`);
    const refused = await through(other, '--format', 'json', '--out', 'other');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /REGISTRY_PROXY/);
    const dead = await through(`http://${USER}:${PASSWORD}@127.0.0.1:1`, '--out', 'other');
    const wrong = await through(`socks5://${USER}:${PASSWORD}@127.0.0.1:1`, '--out', 'other');
    assert.deepEqual([dead.code, wrong.code].includes(0), false);
    await assertSecretFree(scene, [good, refused, dead, wrong]);
  });

  it('if it was written into a wrong field', slow, async t => {
    const scene = await openScene(t);
    const runs: Ran[] = [];
    for (const plugins of [
      { a: { image: `me:${PASSWORD}@host/x`, versions: ['1'] } },
      { a: { image: `https://me:${PASSWORD}@h/x`, versions: ['1'] } },
      { a: { image: `x?tok=${SIGNATURE}`, versions: ['1'] } },
      { a: { image: `h.example/x?a=b&tok=${SIGNATURE}`, versions: ['1'] } },
    ]) {
      await scene.write('given/manifest.json', JSON.stringify({ plugins }));
      runs.push(await scene.sync('--manifest', 'given/manifest.json'));
    }
    await scene.write('given/manifest.json', `{"registry":"me:${PASSWORD}@host","plugins":{"a":"1"}}`);
    runs.push(await scene.sync('--manifest', 'given/manifest.json'));
    runs.push(await scene.sync('--manifest', 'given/manifest.json', '--format', 'json'));
    await scene.write('given/manifest.json', `{"registry":"me:a/${PASSWORD}@host","plugins":{"a":"1"}}`);
    runs.push(await scene.sync('--manifest', 'given/manifest.json'));
    for (const { code } of runs) assert.equal(code, 2);
    await scene.write('given/config.json', `{"auths": {"x": {"auth": "${BASIC}" `);
    await scene.list({ a: '1' });
    runs.push(await scene.run(['sync'], { env: { DOCKER_CONFIG: scene.path('given') } }));
    await assertSecretFree(scene, runs);
  });

  it('if it is in an option, a variable or a reference that takes none', slow, async t => {
    const scene = await openScene(t);
    await scene.list({ a: '1' });
    const host = scene.registry.host;
    const runs: Ran[] = [];
    const misuse = async (args: readonly string[], told: RegExp, env: Record<string, string> = {}): Promise<void> => {
      const ran = await scene.run(args, { env });
      const where = JSON.stringify([args, env]);
      assert.equal(ran.code, 2, `${where}: ${ran.stderr}`);
      assert.match(ran.stderr, told, where);
      runs.push(ran);
    };
    const logins = [
      `http://${USER}:${PASSWORD}@${host}`,
      `${USER}:${PASSWORD}@${host}`,
      `x ${USER}:a ${PASSWORD}@${host}`,
    ];
    for (const login of [...logins, `${host}/x?tok=${SIGNATURE}`])
      for (const option of ['--plain-http', '--insecure'])
        await misuse(['sync', option, login], new RegExp(`${option}.*HOST:PORT`));
    for (const variable of ['PLAIN_HTTP', 'INSECURE'])
      for (const login of logins)
        await misuse(['sync'], new RegExp(`PLUGIN_MIRROR_${variable}.*HOST:PORT`), {
          [`PLUGIN_MIRROR_${variable}`]: login,
        });
    await misuse(['sync'], /PLUGIN_MIRROR_PRUNE=.*expected 1/, { PLUGIN_MIRROR_PRUNE: `${USER}:${PASSWORD}@${host}` });
    for (const format of ['text', 'json'])
      for (const reference of [
        `https://${USER}:${PASSWORD}@${host}/x:1`,
        `${USER}:${PASSWORD}@${host}/x:1`,
        `${USER}:a/${PASSWORD}@${host}/x:1`,
        `${host}/x?tok=${SIGNATURE}`,
      ])
        await misuse(['doctor', reference, '--format', format], /REFERENCE_INVALID/);
    for (const option of ['--ca-file', '--registry-config', '--platform'])
      await misuse(['sync', option, `https://${USER}:${PASSWORD}@${host}/x`], /OPTION|not a URL/);
    await misuse([`https://${USER}:${PASSWORD}@${host}/x:1`], /unknown command/);
    await assertSecretFree(scene, runs);
    assert.equal(scene.registry.count(), 0);
  });

  it('if it is a password on the command line; the error names the ways to give it', async t => {
    const scene = await openScene(t);
    await scene.list({ a: '1' });
    const runs: Ran[] = [];
    for (const args of sample([
      ['sync', `--password=${PASSWORD}`],
      ['sync', '--username', USER, '--password', PASSWORD],
      ['sync', `--password=it's ${PASSWORD}`],
      ['doctor', `-p${PASSWORD}`],
      [`--password=${PASSWORD}`, 'sync'],
      ['check', `--password-stdin=${PASSWORD}`],
    ])) {
      const ran = await scene.run(args);
      assert.equal(ran.code, 2, ran.stderr);
      assert.match(ran.stderr, /--password-stdin or in PLUGIN_MIRROR_PASSWORD/, args.join(' '));
      runs.push(ran);
    }
    const other = await scene.run(['serve', `--auth-password=${PASSWORD}`]);
    assert.equal(other.code, 2);
    assert.match(other.stderr, /unknown option '--auth-password'/);
    const help = await scene.run(['sync', '--help-all']);
    assert.doesNotMatch(help.stdout, /--password(?!-stdin)/);
    await assertSecretFree(scene, [...runs, other, help]);
  });
});
