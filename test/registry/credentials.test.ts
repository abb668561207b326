import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';
import { keysFor, lookUp, parseCredentialsFile } from '../../registry/credentials/credentialsFile.ts';
import {
  brokenDefaultFiles,
  type CredentialsOptions,
  CredentialsSource,
} from '../../registry/credentials/credentialsSource.ts';
import { RegistryCredentials } from '../../registry/errors.ts';
import type { RegistryEvent } from '../../registry/registry.ts';
import { everythingOf } from './engineBench.ts';

const SIGNAL = new AbortController().signal;
let dir = '';
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-credentials-'));
});
after(() => rm(dir, { recursive: true }));

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const find = (env: Record<string, string>, host: string, repository = 'a/b', more = {}): Promise<unknown> =>
  new CredentialsSource({ env, ...more }).find(host, repository, SIGNAL);

async function write(path: string, value: unknown): Promise<string> {
  const file = join(dir, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, typeof value === 'string' ? value : JSON.stringify(value));
  return file;
}

/** A credential helper that records its input. */
async function writeHelper(name: string, script: string): Promise<string> {
  const file = await write(
    `bin/docker-credential-${name}`,
    `#!/bin/sh\nread server\necho "$1 $server" >> "$0.log"\n${script}\n`,
  );
  await chmod(file, 0o755);
  return `${file}.log`;
}

test('a host is found exactly, with its port, and in docker’s older forms', () => {
  const { auths } = parseCredentialsFile(
    JSON.stringify({
      auths: {
        'r.example': { auth: base64('plain:p') },
        'r.example:5000': { auth: base64('port:p:with:colons') },
        'https://old.example/v1/': { auth: base64('old:p') },
        'https://index.docker.io/v1/': { auth: base64('hub:p') },
        'http://slash.example/': { username: 'u', password: 'p' },
        'empty.example': {},
        'id.example': { auth: base64('u:'), identitytoken: 'id' },
        'token.example': { auth: base64('<token>:idt') },
        'padded.example': { auth: base64('pad:p\0\0') },
      },
    }),
    'f',
  );
  const user = (host: string): unknown => {
    const credential = lookUp(auths, host, 'a/b');
    return credential?.kind === 'password' ? `${credential.username}:${credential.password}` : credential?.token;
  };
  assert.equal(user('r.example'), 'plain:p');
  assert.equal(user('r.example:5000'), 'port:p:with:colons');
  assert.equal(user('r.example:5001'), undefined);
  assert.equal(user('old.example'), 'old:p');
  assert.equal(user('docker.io'), 'hub:p');
  assert.equal(user('registry-1.docker.io'), 'hub:p');
  assert.equal(user('slash.example'), 'u:p');
  assert.equal(user('empty.example'), undefined);
  assert.equal(user('id.example'), 'id');
  assert.equal(user('token.example'), 'idt');
  assert.equal(user('padded.example'), 'pad:p');
  assert.equal(user('example'), undefined);
});

test("podman's keys name namespaces: the longest match wins, and a part of a name does not match", () => {
  assert.deepEqual(keysFor('r', 'a/b'), ['r/a/b', 'r/a', 'r']);
  const map = new Map([
    ['r.example/team', 1],
    ['r.example/team/app', 2],
    ['r.example', 3],
  ]);
  assert.equal(lookUp(map, 'r.example', 'team/app'), 2);
  assert.equal(lookUp(map, 'r.example', 'team/other'), 1);
  assert.equal(lookUp(map, 'r.example', 'teams/other'), 3);
  assert.equal(lookUp(map, 'other.example', 'team/app'), undefined);
});

test('a broken file is refused without quoting it', async () => {
  for (const text of ['{"auths": {"h": {"auth": "c2VjcmV0"}}', '["c2VjcmV0"]', '{"auths":{"h":{"auth":"c2VjcmV0"}}}']) {
    const file = await write('broken/config.json', text);
    await assert.rejects(find({}, 'h', 'a', { registryConfig: file }), (error: unknown) => {
      assert.ok(error instanceof RegistryCredentials);
      assert.ok(error.message.includes(file));
      assert.ok(!`${error.stack}${JSON.stringify(error)}${String(error.cause)}`.match(/c2VjcmV0|secret/));
      return true;
    });
  }
});

test('a named file must exist, a default one need not', async () => {
  await assert.rejects(find({}, 'h', 'a', { registryConfig: join(dir, 'nowhere') }), RegistryCredentials);
  assert.equal(await find({ HOME: join(dir, 'nowhere'), DOCKER_CONFIG: join(dir, 'nowhere') }, 'h'), undefined);
  assert.equal(await find({}, 'h'), undefined);
});

test('every default path is read, in order of precedence', async () => {
  const entry = (user: string): unknown => ({ auths: { h: { username: user, password: 'p' } } });
  const file = await write('auth-file.json', entry('auth-file'));
  await write('docker/config.json', entry('docker-config'));
  await write('home/.docker/config.json', entry('home-docker'));
  await write('run/containers/auth.json', entry('podman-run'));
  await write('home/.config/containers/auth.json', entry('podman-home'));
  const user = async (env: Record<string, string>): Promise<unknown> =>
    ((await find(env, 'h')) as { username?: string } | undefined)?.username;
  const HOME = join(dir, 'home');
  const DOCKER_CONFIG = join(dir, 'docker');
  const XDG_RUNTIME_DIR = join(dir, 'run');
  assert.equal(await user({ HOME, DOCKER_CONFIG, XDG_RUNTIME_DIR, REGISTRY_AUTH_FILE: file }), 'auth-file');
  assert.equal(await user({ HOME, DOCKER_CONFIG, XDG_RUNTIME_DIR }), 'docker-config');
  assert.equal(await user({ HOME, XDG_RUNTIME_DIR }), 'home-docker');
  assert.equal(await user({ HOME, XDG_RUNTIME_DIR, DOCKER_CONFIG: join(dir, 'none') }), 'podman-run');
  assert.equal(await user({ HOME, DOCKER_CONFIG: join(dir, 'none') }), 'podman-home');
});

test('DOCKER_AUTH_CONFIG is one more config.json, after a named file and before the usual ones', async () => {
  const entry = (user: string, ...hosts: string[]): unknown => ({
    auths: Object.fromEntries(hosts.map(host => [host, { username: user, password: 'p' }])),
  });
  const DOCKER_AUTH_CONFIG = JSON.stringify(entry('variable', 'h', 'only.variable'));
  const named = await write('named.json', entry('named', 'h'));
  await write('usual/config.json', entry('usual', 'h', 'only.usual'));
  const env = { DOCKER_AUTH_CONFIG, DOCKER_CONFIG: join(dir, 'usual') };
  const sourceOf = async (host: string, more = {}): Promise<unknown> => {
    const found = (await find(env, host, 'a', more)) as { username: string; source: string } | undefined;
    return found && `${found.username} ${found.source === 'DOCKER_AUTH_CONFIG'}`;
  };
  assert.equal(await sourceOf('h'), 'variable true');
  assert.equal(await sourceOf('only.usual'), 'usual false');
  assert.equal(await sourceOf('h', { registryConfig: named }), 'named false');
  assert.equal(await sourceOf('only.variable', { registryConfig: named }), 'variable true');
  assert.equal(await sourceOf('only.usual', { registryConfig: named }), undefined);
});

test('a broken DOCKER_AUTH_CONFIG is passed over and reported by its name, without its text', async () => {
  for (const text of ['{"auths":{"h":{"auth":"c2VjcmV0OnA="}', '/builds/c2VjcmV0/config.json', '["c2VjcmV0"]']) {
    const env = { DOCKER_AUTH_CONFIG: text };
    assert.equal(await find(env, 'h'), undefined);
    for (const withFiles of [true, false]) {
      const [broken, ...more] = await brokenDefaultFiles(env, withFiles);
      assert.match(broken?.message ?? '', /^The variable DOCKER_AUTH_CONFIG /);
      assert.ok(!everythingOf(broken).includes('c2VjcmV0'));
      assert.deepEqual(more, []);
    }
  }
  assert.deepEqual(await brokenDefaultFiles({ DOCKER_AUTH_CONFIG: ' ' }, false), []);
});

test('a credentials file in UTF-16 is refused as such', async () => {
  const text = JSON.stringify({ auths: { h: { username: 'u', password: 'p' } } });
  for (const bytes of [Buffer.from(`\ufeff${text}`, 'utf16le'), Buffer.from(text, 'utf16le')]) {
    const file = await write('wide.json', '');
    await writeFile(file, bytes);
    await assert.rejects(find({}, 'h', 'a', { registryConfig: file }), /UTF-16/);
  }
});

test('a credentials file of more than 1 MiB is refused; a smaller one is read in time', async () => {
  const large = await write('large.json', { auths: { h: { auth: base64(`u:${'p'.repeat(1_000_000)}`) } } });
  await assert.rejects(find({}, 'h', 'a', { registryConfig: large }), /large\.json is too large/);
  const password = `${'\n'.repeat(200_000)}x`;
  const lines = await write('lines.json', { auths: { h: { auth: base64(`u:${password}\r\n`) } } });
  const { user } = process.cpuUsage();
  assert.equal(Object(await find({}, 'h', 'a', { registryConfig: lines })).password, password);
  assert.ok(process.cpuUsage().user - user < 2_000_000);
});

test('base64 of a login is read with what echo and editors add, and refused as UTF-16', async () => {
  const wide = (text: string) => Buffer.from(text, 'utf16le').toString('base64');
  const narrow = (text: string) => Buffer.from(text).toString('base64');
  const read = async (auth: string) =>
    find({}, 'h', 'a', { registryConfig: await write('auth.json', { auths: { h: { auth } } }) });
  for (const text of ['u:p', 'u:p\n', 'u:p\r\n', '\ufeffu:p', 'u:p\0']) {
    const { username, password } = Object(await read(narrow(text)));
    assert.deepEqual([username, password], ['u', 'p'], JSON.stringify(text));
  }
  for (const text of ['u:p', '\ufeffu:p', 'ü:p'])
    await assert.rejects(read(wide(text)), (error: RegistryCredentials) => {
      assert.match(String(error.found), /UTF-16/);
      return true;
    });
});

test('entries of hosts without "auths" around them are refused with the missing level', async () => {
  for (const content of [{ h: { auth: 'dTpw' } }, { h: { username: 'u', password: 'p' }, HttpHeaders: { a: 'b' } }]) {
    const registryConfig = await write('flat.json', content);
    await assert.rejects(find({}, 'h', 'a', { registryConfig }), /has the entry of h, but no "auths" around it/);
  }
  for (const content of [{}, { HttpHeaders: { auth: '' }, plugins: {} }])
    assert.equal(await find({}, 'h', 'a', { registryConfig: await write('none.json', content) }), undefined);
});

test('keys that fit no registry are reported once, those of other namespaces only in a hint', async () => {
  const login = { username: 'u', password: 'p' };
  for (const [key, reported] of [
    ['*', true],
    ['h*', true],
    [' h', true],
    ['h ', true],
    ['me@h', true],
    ['https://me@h', true],
    [' other', false],
    ['me@other', false],
    ['h:5000', false],
    ['https://h/team/', true],
    ['http://h/v2/team', true],
    ['h/team/*', true],
    ['h/team/', true],
    ['h/team', false],
    ['other/team/', false],
  ] as const) {
    const registryConfig = await write('keys.json', { auths: { [key]: login } });
    const { warnings } = await findAnonymously({ registryConfig });
    assert.equal(warnings.length, reported ? 1 : 0, key);
    assert.ok(warnings.every(text => text.includes(`"${key}"`)));
  }
  const registryConfig = await write('keys.json', { auths: { 'h/team': login } });
  const source = new CredentialsSource({ registryConfig });
  await source.find('h', 'elsewhere/a', SIGNAL);
  assert.match(await source.hintFor('h', 'elsewhere/a'), /only for h\/team, which do not fit elsewhere\/a/);
  assert.equal(await source.hintFor('h', 'team/a'), '');
  const reported = new CredentialsSource({ registryConfig: await write('keys.json', { auths: { 'h/team/': login } }) });
  await reported.find('h', 'elsewhere/a', SIGNAL);
  assert.match(
    await reported.hintFor('h', 'elsewhere/a'),
    /The key "h\/team\/" of "auths" in .*keys\.json fits no registry/,
  );
  const secret = await findAnonymously({
    registryConfig: await write('keys.json', { auths: { 'me:secret@h': login } }),
  });
  assert.match(secret.warnings.join(), /the key "me:\*\*\*@h" of/);
  // The failure of a host names the keys that may be meant for it.
  for (const [key, host, words] of [
    ['*', 'registry.example:5000', /The key "\*" of "auths".* fits no registry: write it as "registry\.example:5000"/],
    [' registry.example', 'registry.example', /The key " registry\.example"/],
    ['me@registry.example:5000', 'registry.example:5000', /The key "me@registry/],
    [
      'registry.example',
      'registry.example:5000',
      /only for registry\.example, which is not registry\.example:5000: the port/,
    ],
    [
      'registry.example:443',
      'registry.example',
      /only for registry\.example:443, which is not registry\.example: the port/,
    ],
    ['registry.example:5000/team', 'registry.example', /the port is a part of the key/],
    ['other.example', 'registry.example', /^$/],
    ['registry.example:6000', 'registry.example:5000', /^$/],
  ] as const) {
    const misfit = new CredentialsSource({ registryConfig: await write('keys.json', { auths: { [key]: login } }) });
    assert.equal(await misfit.find(host, 'a', SIGNAL), undefined, key);
    assert.match(await misfit.hintFor(host, 'a'), words, key);
  }
});

test('options go before files, and only for the hosts that they are for', async () => {
  const registryConfig = await write('one.json', { auths: { h: { username: 'file', password: 'p' } } });
  const given = { registryConfig, username: 'given', password: 'p' };
  const user = async (more: object, host = 'h'): Promise<unknown> =>
    ((await find({}, host, 'a', { ...given, ...more })) as { username?: string } | undefined)?.username;
  assert.equal(await user({}), 'given');
  assert.equal(await user({ credentialsFor: ['other'] }), 'file');
  assert.equal(await user({ credentialsFor: ['h'] }, 'evil'), undefined);
});

test('a helper gets the server on stdin, once per server, and Docker Hub’s old name', async () => {
  const log = await writeHelper('good', 'echo \'{"ServerURL":"x","Username":"u","Secret":"s"}\'');
  const registryConfig = await write('helper.json', { credsStore: 'good', auths: { h: {} } });
  const source = new CredentialsSource({ env: { PATH: join(dir, 'bin') }, registryConfig });
  assert.deepEqual(await source.find('h', 'a', SIGNAL), {
    kind: 'password',
    username: 'u',
    password: 's',
    source: 'docker-credential-good',
  });
  await source.find('h', 'b', SIGNAL);
  await source.find('docker.io', 'a', SIGNAL);
  assert.equal(await readFile(log, 'utf8'), 'get h\nget https://index.docker.io/v1/\n');
});

test('<token> as the user name marks an identity token; the helper of a host comes before the store', async () => {
  await writeHelper('token', 'echo \'{"Username":"<token>","Secret":"idt"}\'');
  await writeHelper('never', 'exit 9');
  const registryConfig = await write('both.json', { credsStore: 'never', credHelpers: { h: 'token' } });
  assert.deepEqual(await find({ PATH: join(dir, 'bin') }, 'h', 'a', { registryConfig }), {
    kind: 'identityToken',
    token: 'idt',
    source: 'docker-credential-token',
  });
});

test('a helper without credentials is not an error; one that fails is reported, and its secret is not shown', async () => {
  await writeHelper('none', 'echo "credentials not found in native keychain"; exit 1');
  await writeHelper('fails', 'echo "error getting credentials: no gpg"; exit 2');
  await writeHelper('babbles', 'echo \'{"Username":"u","Secret":"hidden"\'');
  await writeHelper('leaks', 'echo \'{"Username":"u","Secret":"hidden"}\'; exit 3');
  await writeHelper('dies', 'kill -SEGV $$');
  await chmod(await write('bin/docker-credential-foreign', '#!/nowhere/python3\n'), 0o755);
  const env = { PATH: join(dir, 'bin') };
  const ask = async (name: string): Promise<RegistryCredentials | undefined> => {
    const registryConfig = await write(`${name.replaceAll('/', '')}.json`, { credsStore: name });
    const { failure, warnings } = await findAnonymously({ env, registryConfig });
    assert.deepEqual(
      warnings.map(text => text.startsWith(failure?.message ?? 'no failure')),
      failure === undefined ? [] : [true],
    );
    return failure;
  };
  assert.equal(await ask('none'), undefined);
  for (const [name, reason] of [
    ['fails', /: exit code 2$/],
    ['dies', /: it was ended by SIGSEGV$/],
    ['babbles', /not JSON/],
    ['leaks', /exit code 3/],
    ['absent', /: it is not in PATH$/],
    ['foreign', /: it is in PATH, but the interpreter that it names is missing$/],
    ['../../evil', /name/],
  ] as const) {
    const error = await ask(name);
    assert.ok(error instanceof RegistryCredentials, name);
    assert.match(error.message, reason);
    assert.ok(!everythingOf(error).includes('hidden'), name);
  }
});

/** Looks for the credentials of `h` twice, finds none, and returns what was reported. */
async function findAnonymously(options: CredentialsOptions): Promise<{
  readonly failure: RegistryCredentials | undefined;
  readonly warnings: readonly string[];
}> {
  const warnings: string[] = [];
  const onEvent = (event: RegistryEvent): unknown => event.type === 'warning' && warnings.push(event.message);
  const source = new CredentialsSource({ ...options, onEvent });
  for (const repository of ['a', 'b']) assert.equal(await source.find('h', repository, SIGNAL), undefined);
  return { failure: source.failureFor('h'), warnings };
}

test('other output of a helper is not shown', async () => {
  await writeHelper('loud', 'echo "boom planted-secret" >&2; exit 3');
  const { failure, warnings } = await findAnonymously({
    env: { PATH: join(dir, 'bin') },
    registryConfig: await write('loud.json', { credsStore: 'loud' }),
  });
  assert.ok(failure instanceof RegistryCredentials);
  assert.ok(!`${everythingOf(failure)}${warnings.join()}`.includes('planted-secret'));
});

test('a helper whose child keeps its pipe open is waited for no longer than allowed, and its output counts', async () => {
  const env = { PATH: `${join(dir, 'bin')}:/usr/bin:/bin` };
  const pid = join(dir, 'child.pid');
  await writeHelper('wrapper', `sleep 60 & echo $! > "${pid}"; wait`);
  const registryConfig = await write('wrapper.json', { credsStore: 'wrapper' });
  const { failure } = await findAnonymously({ env, registryConfig, timeoutMs: 2000 });
  assert.match(failure?.message ?? '', /did not answer within 2 s/);
  await ended(Number(await readFile(pid, 'utf8')));
  await writeHelper('daemon', 'echo \'{"Username":"u","Secret":"s"}\'; sleep 3 &');
  const found = await find(env, 'h', 'a', {
    registryConfig: await write('daemon.json', { credsStore: 'daemon' }),
    timeoutMs: 2500,
  });
  assert.equal((found as { username?: string }).username, 'u');
});

/** Resolves once no process has this id. */
async function ended(pid: number): Promise<void> {
  const isThere = (): boolean => {
    try {
      // A zombie, which has ended but whose parent has not waited for it, counts as ended.
      return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    } catch {
      return false;
    }
  };
  while (isThere()) await new Promise(resolve => setImmediate(resolve));
}

test('an aborted lookup stops its helper', async () => {
  await writeHelper('slow', 'exec sleep 60');
  const registryConfig = await write('slow.json', { credsStore: 'slow' });
  const controller = new AbortController();
  const looking = new CredentialsSource({
    env: { PATH: `${join(dir, 'bin')}:/usr/bin:/bin` },
    registryConfig,
  }).find('h', 'a', controller.signal);
  controller.abort(new Error('enough'));
  await assert.rejects(looking, /enough/);
});
