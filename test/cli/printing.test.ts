import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import process from 'node:process';
import { describe, it } from 'node:test';
import { finish } from '../../cli/exit.ts';
import { buildProgram } from '../../cli/program.ts';
import { ServeLog } from '../../cli/serve/log.ts';
import { openScene, type Scene } from '../support/cli.ts';
import { headers, raw, redirect, rewrite, status, wrongBytes } from '../support/faults.ts';
import { imageFormC, imageOf, MEDIA } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { slow } from '../support/slow.ts';

/** Text as a hostile registry, image or file has it. No line of any output may begin with FORGED. */
const HOSTILE =
  'a\u001b[31m\u001b]0;title\u0007\u009b2J\u202eb\u2066\u200b\ufeff\r\nFORGED ✓ all is well\n::error::c\n  ::add-mask::d\n##[error]e ##vso[task.complete]f';
/** The same for a header, which cannot have control characters below U+0020, nor characters above U+00FF. */
const HEADER = 'a\u009b2J ::error::b ##[error]c';
/** For a place that allows no white space. */
const WORD = 'a\u009b\u202e\u200b##[b';

const UNSAFE = /[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;
const COMMAND = /^\s*::|##\w{0,20}\[/m;
const LONGEST_LINE = 20_000;

function assertPrintable(text: string, what: string): void {
  const bad = text.split('\n').find(it => UNSAFE.test(it) || COMMAND.test(it) || /^\s*FORGED/.test(it));
  assert.equal(bad === undefined ? '' : JSON.stringify(bad), '', what);
  for (const line of text.split('\n')) assert.ok(line.length <= LONGEST_LINE, `${what}: ${line.length} characters`);
}

/** Runs a command in this process and checks everything that it prints, as text and as JSON. */
async function run(args: readonly string[]): Promise<string> {
  const { stdout, stderr } = process;
  const [toStdout, toStderr] = [stdout.write, stderr.write];
  let text = '';
  const capture =
    (write: typeof toStdout): typeof toStdout =>
    (chunk: Uint8Array | string): boolean => {
      // The test runner writes bytes.
      if (typeof chunk !== 'string') return write.call(stdout, chunk);
      text += chunk;
      return true;
    };
  stdout.write = capture(toStdout);
  stderr.write = capture(toStderr);
  const { exitCode } = process;
  try {
    await buildProgram('0').parseAsync(args, { from: 'user' });
  } catch (error) {
    finish(error);
  } finally {
    stdout.write = toStdout;
    stderr.write = toStderr;
    process.exitCode = exitCode;
  }
  assertPrintable(text, args.join(' '));
  return text;
}

/** Runs a command as text and as JSON; returns both outputs. */
async function runBoth(args: readonly string[]): Promise<string> {
  const text = await run(args);
  return `${text}${await run([...args, '--format', 'json'])}`;
}

function inScene(scene: Scene) {
  const manifest = ['--manifest', scene.path('manifest.json')];
  const tree = ['--out', scene.path('plugins')];
  const client = ['--cache-dir', scene.path('cache'), '--retries', '0', '--timeout', '5'];
  return { manifest, tree, client, all: [...manifest, ...tree, ...client] };
}

async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name));
}

describe('text from outside is printed without control characters, line breaks and commands', () => {
  it('from images: media types, titles, annotations, platforms, names in archives', slow, async t => {
    const scene = await openScene(t);
    const wasm = buildModule({ seed: 'a' });
    const annotations = { 'org.opencontainers.image.title': HOSTILE, 'org.opencontainers.image.created': HOSTILE };
    const images = {
      type: imageOf({ layers: [{ mediaType: HOSTILE, body: Buffer.from('x'), title: HOSTILE }] }),
      manifest: imageOf({ mediaType: HOSTILE, layers: [{ mediaType: MEDIA.wasm, body: wasm }] }),
      config: imageOf({ config: { mediaType: HOSTILE, body: Buffer.from('{}') }, layers: [] }),
      two: imageOf({
        layers: [
          { mediaType: MEDIA.wasm, body: wasm, title: HOSTILE },
          { mediaType: MEDIA.wasm, body: buildModule({ seed: 'b' }), title: HOSTILE },
        ],
      }),
      text: imageOf({ layers: [{ mediaType: MEDIA.wasm, body: Buffer.from(HOSTILE), title: 'plugin.wasm' }] }),
      good: imageFormC({ wasm, annotations }),
    };
    for (const [name, image] of Object.entries(images)) scene.push(name, '1.0.0', image);
    const plugins = Object.fromEntries(Object.keys(images).map(name => [name, '1.0.0']));
    await scene.list(plugins);
    const { all, manifest } = inScene(scene);
    await runBoth(['sync', '--dry-run', ...all]);
    const text = await runBoth(['sync', '--log-level', 'debug', ...all]);
    for (const code of [/LAYER_NO_PLUGIN/, /LAYER_AMBIGUOUS/, /MODULE_INVALID/]) assert.match(text, code);
    // The tag moves: the drift shows what the new image says of itself.
    scene.push('good', '1.0.0', imageFormC({ wasm: buildModule({ seed: 'c' }), annotations }));
    await scene.list({ good: '1.0.0' });
    assert.match(await runBoth(['sync', ...all]), /drift/);
    await runBoth(['check', ...all]);
    await runBoth(['list', '--tree', scene.path('plugins')]);
    await runBoth(['list', ...manifest]);
    await runBoth(['urls', ...manifest]);
  });

  it('from registries: error bodies, tags, headers, redirects, realms, token servers', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    const { all, manifest, client } = inScene(scene);
    const realm = `Bearer realm="http://127.0.0.1:1/${WORD}?${HEADER}",service="${HEADER}",scope="${HEADER}"`;
    const faults = {
      message: status(403, { code: HOSTILE, message: HOSTILE }),
      body: status(500, { body: HOSTILE }),
      retry: status(503, { retryAfter: HEADER, message: HOSTILE }),
      unauthorized: status(401, { message: HOSTILE }),
      realm: rewrite('realm', said => ({ ...said, status: 401, headers: { 'www-authenticate': realm } })),
      warning: headers({ warning: `299 - "${HEADER}"` }),
      type: headers({ 'content-type': HEADER }),
      digest: headers({ 'docker-content-digest': HEADER }),
      redirect: redirect(`http://127.0.0.1:1/${WORD}`),
      nowhere: redirect(HEADER),
      banner: raw(HOSTILE),
      status: raw(`HTTP/1.1 418 ${HEADER}\r\nX-A: ${HOSTILE.replaceAll('\n', '')}\r\n\r\n`),
    };
    for (const fault of Object.values(faults)) {
      scene.registry.script({ kind: 'manifest', fault });
      for (const command of ['sync', 'check', 'outdated'])
        await runBoth([command, '--log-level', 'debug', ...(command === 'sync' ? [...all, '--no-lock'] : all)]);
      scene.registry.script({ fault });
      await runBoth(['doctor', ...manifest, ...client]);
    }
    scene.registry.script({
      kind: 'tags',
      fault: wrongBytes(JSON.stringify({ name: HOSTILE, tags: ['2.0.0', HOSTILE, WORD] })),
    });
    await runBoth(['outdated', '--all', '--pre', ...all]);
    await scene.list({ a: '9.9.9' });
    await runBoth(['sync', ...all, '--no-lock']);
  });

  it('from files: manifests, lockfiles, lists, resources, trees', async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    const { all, manifest } = inScene(scene);
    await run(['sync', ...all]);
    for (const text of [
      HOSTILE,
      JSON.stringify({ [HOSTILE]: 1, plugins: { [HOSTILE]: HOSTILE, a: { [HOSTILE]: HOSTILE, versions: [HOSTILE] } } }),
      JSON.stringify({ registry: HOSTILE, mirrors: { [HOSTILE]: [HOSTILE] }, plugins: { a: { image: HOSTILE } } }),
      JSON.stringify({ signatures: { keys: [HOSTILE] }, plugins: { a: { file: HOSTILE } } }),
    ]) {
      await scene.write('manifest.json', text);
      await runBoth(['sync', ...all]);
      await runBoth(['coverage', ...manifest]);
    }
    await scene.list({ a: '1.0.0' });
    const lockfile = await scene.read('manifest.lock.json');
    for (const text of [
      `<<<<<<< ${HOSTILE}`,
      HOSTILE,
      lockfile.replace('"digest": "', `"digest": ${JSON.stringify(HOSTILE).slice(0, -1)}`),
    ]) {
      await scene.write('manifest.lock.json', text);
      await runBoth(['check', ...all]);
      await runBoth(['verify', '--tree', scene.path('plugins'), '--lock', scene.path('manifest.lock.json')]);
    }
    await scene.write('plugins.properties', `a=${HOSTILE.replaceAll('\n', '\\n')}\n${WORD}=oci://${WORD}/x:1\n`);
    await scene.write('snapshot.json', JSON.stringify({ plugins: [{ name: HOSTILE, url: HOSTILE }] }));
    for (const file of ['plugins.properties', 'snapshot.json']) await run(['import', scene.path(file)]);
    const resource = { apiVersion: 'extensions.higress.io/v1alpha1', kind: 'WasmPlugin' };
    await scene.write(
      'wasm.json',
      JSON.stringify({
        kind: 'List',
        items: [
          { ...resource, metadata: { name: HOSTILE, namespace: HOSTILE }, spec: { url: HOSTILE } },
          { ...resource, metadata: { name: HOSTILE }, spec: { url: `http://h.svc/plugins/${WORD}/1/plugin.wasm` } },
          { ...resource, metadata: { name: HOSTILE }, spec: { url: `oci://${WORD}`, failStrategy: HOSTILE } },
        ],
      }),
    );
    await scene.write('bad.yaml', `a: [${HOSTILE}`);
    await scene.write('cluster.env', `HIGRESS_ADMIN_WASM_PLUGIN_CUSTOM_IMAGE_URL_PATTERN=${WORD}\nX=${HOSTILE}`);
    for (const file of ['wasm.json', 'bad.yaml']) await runBoth(['coverage', '--all', ...manifest, scene.path(file)]);
    await runBoth(['coverage', ...manifest, '--env-file', scene.path('cluster.env'), '--url', HOSTILE]);
    const odd = scene.path('plugins', 'a', '1.0.0', 'x\u001b[2J\u202e\nFORGED\n::error::y');
    await mkdir(dirname(odd), { recursive: true });
    await writeFile(odd, '');
    for (const file of await filesBelow(scene.path('plugins')))
      if (file.endsWith('metadata.json')) {
        const metadata = JSON.parse(await readFile(file, 'utf8')) as object;
        await writeFile(file, JSON.stringify({ ...metadata, reference: HOSTILE, digest: HOSTILE }));
      }
    const text = await runBoth(['verify', '--tree', scene.path('plugins')]);
    assert.match(text, /unknown/);
    await runBoth(['check', ...all]);
    await scene.write('plugins/index.json', JSON.stringify({ schemaVersion: HOSTILE, plugins: [HOSTILE] }));
    await runBoth(['verify', '--tree', scene.path('plugins')]);
    await runBoth(['list', '--tree', scene.path('plugins')]);
  });

  it('from the command line, and from the server', async t => {
    const scene = await openScene(t);
    await scene.list({ a: '1.0.0' });
    const { all, client } = inScene(scene);
    for (const args of [
      [HOSTILE],
      ['sync', `--${HOSTILE}`],
      ['sync', '--concurrency', HOSTILE],
      ['sync', '--manifest', `/none/${HOSTILE}`],
      ['sync', '--only', HOSTILE, ...all],
      ['sync', '--registry', HOSTILE, ...all],
      ['sync', '--ca-file', `/none/${HOSTILE}`, ...all],
      ['doctor', HOSTILE, ...client],
      ['init', '--higress', HOSTILE],
      ['init', '--plugin', HOSTILE],
      ['verify', '--tree', `/none/${HOSTILE}`],
      ['cache', 'ls', '--cache-dir', `/none/${HOSTILE}`],
      ['urls', '--base', HOSTILE],
      ['help', HOSTILE],
    ])
      await run(args);
    const written: string[] = [];
    const { write } = process.stderr;
    process.stderr.write = ((chunk: string) => written.push(chunk) > 0) as typeof write;
    try {
      for (const logFormat of ['text', 'json'] as const) {
        const log = new ServeLog({ logFormat, logLevel: 'info' });
        log.write('warn', HOSTILE);
        if (logFormat === 'json') log.fail(new Error(HOSTILE));
      }
    } finally {
      process.stderr.write = write;
      process.exitCode = undefined;
    }
    assert.equal(written.length, 3);
    for (const text of written) assertPrintable(text, 'serve');
  });

  it('and nothing in the command line prints in another way', async () => {
    const room = resolve(import.meta.dirname, '../../cli');
    const found: string[] = [];
    for (const file of await filesBelow(room)) {
      const text = await readFile(file, 'utf8');
      if (/\b(?:stdout|stderr|out|stream)\.write\(|console\./.test(text)) found.push(file.slice(room.length + 1));
    }
    // An old Node.js parses requireNode.cjs; progress.ts draws what it was given through printableValue, counter.ts only numbers.
    assert.deepEqual(found.sort(), ['render/counter.ts', 'render/print.ts', 'requireNode.cjs', 'sync/progress.ts']);
  });
});
