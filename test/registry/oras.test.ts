import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Refusal } from '../../base/refusal.ts';
import { createOrasEngine } from '../../registry/oras/engine.ts';
import { orasError } from '../../registry/oras/stderr.ts';
import { type Digest, parseReference } from '../../registry/reference.ts';
import { refused } from '../support/refused.ts';

const signal = new AbortController().signal;
const reference = parseReference('registry.example/plugins/a:1');
const digest = `sha256:${'a'.repeat(64)}`;

// A stand-in for the ORAS CLI that records its arguments. contract.test.ts runs the real one.
describe('the ORAS engine', { skip: process.platform === 'win32' }, () => {
  let dir: string;
  let env: Record<string, string>;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-test-'));
    env = { PATH: `${dir}:/usr/bin:/bin`, HOME: dir, PLANTED: 'p1anted-secret', HTTPS_PROXY: 'http://proxy.example:1' };
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const install = (body: string, version = '1.3.3') =>
    writeFile(
      join(dir, 'oras'),
      `#!/bin/sh\nif [ "$1" = version ]; then echo 'Version:    ${version}'; exit 0; fi\n${body}\n`,
      { mode: 0o755 },
    );

  it('that is missing is reported with how to get it, and never from npm', async () => {
    await assert.rejects(createOrasEngine({ env: { PATH: dir } }), (error: unknown) => {
      refused('ORAS_MISSING')(error);
      const { hint } = error as Refusal;
      for (const way of ['apt install oras', 'ghcr.io/oras-project/oras', 'brew install oras', 'setup-oras'])
        assert.ok(hint.includes(way), way);
      assert.doesNotMatch(hint, /npm (?:install|i) /);
      return true;
    });
  });

  it('is distinguished from another program of that name', async () => {
    await writeFile(join(dir, 'oras'), '#!/bin/sh\necho 0.0.0-whatever\n', { mode: 0o755 });
    await assert.rejects(createOrasEngine({ env }), refused('ORAS_MISSING'));
  });

  for (const version of ['1.2.3', '0.16.0', '1.2.99+unknown'])
    it(`refuses ${version} as too old`, async () => {
      await install('', version);
      await assert.rejects(createOrasEngine({ env }), refused('ORAS_TOO_OLD'));
    });

  for (const version of ['1.3.0', '1.10.0', '2.0.0-rc.1'])
    it(`accepts ${version}`, async () => {
      await install('', version);
      await (await createOrasEngine({ env })).close();
    });

  it('gets secrets in a file that is removed afterwards, not on the command line or in the environment', async () => {
    await install(`{ printf '%s\\n' "$@"; env; } > '${dir}/call'
while [ $# -gt 0 ]; do
  if [ "$1" = --registry-config ]; then cp "$2" '${dir}/config'; stat -c %a "$2" > '${dir}/mode'; echo "$2" > '${dir}/path'; fi
  shift
done
echo ${digest}`);
    const engine = await createOrasEngine({ env, username: 'robot', password: 'tr0ub4dor' });
    assert.equal(await engine.resolve(reference, signal), digest);
    const call = await readFile(join(dir, 'call'), 'utf8');
    assert.doesNotMatch(call, /tr0ub4dor|p1anted|--debug|--password/);
    assert.match(call, /^HTTPS_PROXY=http:\/\/proxy\.example:1$/m);
    assert.equal((await readFile(join(dir, 'mode'), 'utf8')).trim(), '600');
    const config = JSON.parse(await readFile(join(dir, 'config'), 'utf8'));
    assert.deepEqual(config, {
      auths: { 'registry.example': { auth: Buffer.from('robot:tr0ub4dor').toString('base64') } },
    });
    await engine.close();
    await assert.rejects(stat((await readFile(join(dir, 'path'), 'utf8')).trim()), { code: 'ENOENT' });
  });

  it('counts every byte of simultaneous blobs', async () => {
    await install(`while [ "$1" != --output ]; do shift; done
printf 12345 > "$2"
echo >> '${dir}/waiting'
while [ ! -e '${dir}/go' ]; do sleep 0.02; done`);
    const engine = await createOrasEngine({ env });
    const descriptor = { mediaType: 'application/octet-stream', digest: digest as Digest, size: 5 };
    const blobs = Array.from({ length: 8 }, () => engine.fetchBlob(reference, descriptor, 0, signal));
    const waiting = () => readFile(join(dir, 'waiting'), 'utf8').catch(() => '');
    while ((await waiting()).length < blobs.length) await new Promise(resolve => setTimeout(resolve, 10));
    await writeFile(join(dir, 'go'), '');
    // No event arrives until the processes end, then all arrive together.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    for (const { body } of await Promise.all(blobs)) for await (const _ of body);
    assert.equal(engine.traffic.bytesDownloaded, 5 * blobs.length);
    await engine.close();
  });

  it('is ended by SIGINT, and killed if it does not end', async () => {
    await install(`trap 'echo interrupted > "${dir}/heard"' INT
echo $$ > '${dir}/pid'
while :; do sleep 0.05; done`);
    const engine = await createOrasEngine({ env });
    const controller = new AbortController();
    const asked = engine.resolve(reference, controller.signal);
    asked.catch(() => {});
    let pid = '';
    while (pid === '') {
      pid = (await readFile(join(dir, 'pid'), 'utf8').catch(() => '')).trim();
      await new Promise(resolve => setTimeout(resolve, 10));
    }
    controller.abort(new Error('enough'));
    await assert.rejects(asked, /enough/);
    assert.equal((await readFile(join(dir, 'heard'), 'utf8')).trim(), 'interrupted');
    assert.throws(() => process.kill(Number(pid), 0), { code: 'ESRCH' });
    await engine.close();
  });
});

describe('a tag list without end', { skip: process.platform === 'win32' }, () => {
  const endless: [string, string, number | undefined][] = [
    ['goes in a circle', 'while :; do echo 1.0.0; echo 1.2.0; done', undefined],
    ['never repeats itself', 'i=0; while :; do i=$((i+1)); echo "1.0.$i"; done', undefined],
    ['comes slowly', 'i=0; while :; do i=$((i+1)); echo "1.0.$i"; sleep 0.02; done', 300],
  ];
  for (const [what, loop, timeoutMs] of endless)
    it(`that ${what} is refused, and ORAS is ended`, async t => {
      const dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-test-'));
      t.after(() => rm(dir, { recursive: true, force: true }));
      const version = `if [ "$1" = version ]; then echo 'Version:    1.3.3'; exit 0; fi`;
      await writeFile(join(dir, 'oras'), `#!/bin/sh\n${version}\necho $$ > '${dir}/pid'\n${loop}\n`, { mode: 0o755 });
      const env = { PATH: `${dir}:/usr/bin:/bin`, HOME: dir };
      const engine = await createOrasEngine({ env, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
      t.after(() => engine.close());
      await assert.rejects(engine.listTags(reference, signal), refused('REGISTRY_PROTOCOL'));
      const pid = Number(await readFile(join(dir, 'pid'), 'utf8'));
      assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
    });
});

describe('the error output of ORAS', () => {
  const subject = 'registry.example/plugins/a:1';
  const table: [string, string][] = [
    [
      'Error response from registry: failed to resolve digest: registry.example/plugins/a:1: not found',
      'REGISTRY_NOT_FOUND',
    ],
    ['Error response from registry: name unknown: repository name not known to registry', 'REGISTRY_NOT_FOUND'],
    [
      'Error response from registry: HEAD "http://r/v2/a/manifests/1": response status code 401: Unauthorized',
      'REGISTRY_UNAUTHORIZED',
    ],
    ['Error response from registry: denied: requested access to the resource is denied', 'REGISTRY_DENIED'],
    ['Error: Head "https://r/v2/": dial tcp 127.0.0.1:1: connect: connection refused', 'REGISTRY_REFUSED'],
    [
      'Error: Head "https://r/v2/": proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused',
      'REGISTRY_PROXY',
    ],
    ['Error: Head "https://r/v2/": Proxy Authentication Required', 'REGISTRY_PROXY'],
    ['Error: Head "https://r/v2/": dial tcp: lookup nowhere.invalid: no such host', 'REGISTRY_DNS'],
    ['Error: Head "https://r/v2/": dial tcp: lookup r on 10.0.0.1:53: read udp: i/o timeout', 'REGISTRY_DNS'],
    ['Error: Head "https://r/v2/": dial tcp 10.0.0.1:443: i/o timeout', 'REGISTRY_TIMEOUT'],
    [
      'Error: Head "https://r/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority',
      'REGISTRY_TLS',
    ],
    ['Error: Get "https://r/v2/": http: server gave HTTP response to HTTPS client', 'REGISTRY_TLS'],
    [
      'Error response from registry: HEAD "http://r/v2/": response status code 429: Too Many Requests',
      'REGISTRY_RATE_LIMITED',
    ],
    ['Error response from registry: toomanyrequests: slow down', 'REGISTRY_RATE_LIMITED'],
    [
      'Error response from registry: HEAD "http://r/v2/": response status code 503: Service Unavailable',
      'REGISTRY_UNAVAILABLE',
    ],
    ['Error: read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer', 'REGISTRY_UNAVAILABLE'],
    ['Error: read failed: expected content size of 401, got 10: unexpected EOF', 'REGISTRY_UNAVAILABLE'],
    ['Error: mismatched digest', 'REGISTRY_DIGEST_MISMATCH'],
    ['Error: Get "http://r/hops/loop": stopped after 10 redirects', 'REGISTRY_REDIRECT'],
    ['Error: net/http: HTTP/1.x transport connection broken: malformed HTTP response "SSH-2.0-x"', 'REGISTRY_PROTOCOL'],
    ['Error: open /tmp/x: no space left on device', 'ORAS_FAILED'],
    ['', 'ORAS_FAILED'],
  ];
  for (const [stderr, code] of table)
    it(`"${stderr.slice(0, 90)}" is ${code}`, () => {
      const refusal = orasError(stderr, subject, 'manifest') as Refusal & { code: string };
      assert.equal(refusal.code, code);
      assert.notEqual(refusal.hint, '');
    });

  it('names the token server or the storage host that failed, and the registry that named it', () => {
    const own = 'GET "http://registry.example/v2/plugins/a/manifests/1": ';
    const token = 'GET "http://auth.example/token?scope=x": ';
    for (const [words, code, role] of [
      [`${own}${token}response status code 404: Not Found`, 'REGISTRY_PROTOCOL', 'token server auth.example'],
      [`${own}${token}response status code 405: Method Not Allowed`, 'REGISTRY_PROTOCOL', 'token server auth.example'],
      [
        `${own}${token}response status code 503: Service Unavailable`,
        'REGISTRY_UNAVAILABLE',
        'token server auth.example',
      ],
      [
        `${own}${token}failed to decode response: invalid character '<'`,
        'REGISTRY_PROTOCOL',
        'token server auth.example',
      ],
      [
        `${own}Get "http://auth.example/token": dial tcp: connection refused`,
        'REGISTRY_REFUSED',
        'token server auth.example',
      ],
      [
        `Get "http://store.example/x": dial tcp: lookup store.example: no such host`,
        'REGISTRY_DNS',
        'storage host store.example',
      ],
    ] as const) {
      const refusal = orasError(`Error: failed to resolve digest: ${words}`, subject, 'manifest');
      assert.equal((refusal as Refusal & { code: string }).code, code, words);
      assert.ok(refusal.message.startsWith('registry.example ') && refusal.message.includes(role), refusal.message);
      assert.equal(refusal.faultIn, role.split(' ').at(-1));
      assert.doesNotMatch(refusal.message, /not found: /);
    }
  });

  it('is not misread because of a repository’s name', () => {
    const odd = 'denied.example/x509:/unauthorized-certificate';
    const stderr = `Error: failed to fetch the content of "${odd}": Get "https://${odd}": read: connection reset by peer`;
    assert.equal((orasError(stderr, odd, 'manifest') as Refusal & { code: string }).code, 'REGISTRY_UNAVAILABLE');
  });

  it('is shown without the secrets of signed URLs and proxies', () => {
    const stderr =
      'Error: Get "https://user:p1anted-a@bucket.example/x?Signature=p1anted-b&Expires=1": proxyconnect tcp: http://me:p1anted-c@proxy:1: EOF';
    const refusal = orasError(stderr, subject, 'blob');
    assert.doesNotMatch(`${refusal.message} ${refusal.stack} ${JSON.stringify(refusal)}`, /p1anted/);
  });
});
