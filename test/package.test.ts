import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import process from 'node:process';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { publint } from 'publint';
import { slow } from './support/slow.ts';

const execute = promisify(execFile);
const root = resolve(import.meta.dirname, '..');

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

/** Nothing of the run that this test is part of (npm's own variables above all) reaches the npm that it starts. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(?:npm_(?!config_)|INIT_CWD|NODE_OPTIONS|NODE_TEST)/.test(name)),
);

async function npm(cwd: string, ...words: readonly string[]): Promise<string> {
  const { stdout } = await execute('npm', words, { cwd, env, maxBuffer: 16 * 1024 * 1024 });
  return stdout;
}

describe('the package', () => {
  let dir: string;
  let packed: Packed;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-package-'));
    // Without scripts: `prepare` would rebuild dist under the feet of other tests, and it is built already.
    // A cache of its own, since the home folder may not exist or may not be writable.
    const quietly = ['--json', '--ignore-scripts', '--cache', join(dir, 'cache')];
    const stdout = await npm(root, 'pack', ...quietly, '--pack-destination', dir);
    const [first] = Object.values(JSON.parse(stdout) as Record<string, Packed>);
    assert.ok(first);
    packed = first;
  });
  after(() => rm(dir, { recursive: true, force: true }));

  it('holds the program, its manifest, schemas and documents, and no sources, tests or scripts', () => {
    const paths = packed.files.map(({ path }) => path);
    const wanted = [
      'dist/cli/main.js',
      'manifest.json',
      'manifest.schema.json',
      'LICENSE',
      'README.md',
      'docs/errors.md',
    ];
    assert.deepEqual(
      wanted.filter(path => !paths.includes(path)),
      [],
    );
    assert.deepEqual(
      paths.filter(
        path =>
          /^(?:test|scripts|dist\/(?:test|scripts)|plugins|node_modules|\.ci)\//.test(path) || path.endsWith('.ts'),
      ),
      [],
    );
  });

  it('has every file to which its documents link', async () => {
    const paths = packed.files.map(({ path }) => path);
    const documents = paths.filter(path => path.endsWith('.md'));
    assert.ok(documents.length > 8, documents.join(' '));
    for (const name of documents) {
      const text = await readFile(join(root, name), 'utf8');
      for (const [, link = ''] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
        const target = join(dirname(name), link);
        assert.ok(
          paths.some(path => path === target || path.startsWith(`${target.replace(/\/$/, '')}/`)),
          `${name} links to ${target}`,
        );
      }
    }
  });

  it('works where it is installed', slow, async () => {
    await writeFile(join(dir, 'package.json'), '{"private":true}');
    const quietly = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund'];
    await npm(dir, 'install', ...quietly, `./${packed.filename}`);
    const { messages } = await publint({ pkgDir: join(dir, 'node_modules/plugin-mirror'), pack: false, strict: true });
    assert.deepEqual(messages, []);
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
    assert.equal((await npm(dir, 'exec', '--no', '--', 'plugin-mirror', '--version')).trim(), version);
    const help = await npm(dir, 'exec', '--no', '--', 'plugin-mirror', '--help');
    assert.match(help, /^Usage: plugin-mirror/);
    await assert.rejects(npm(dir, 'exec', '--no', '--', 'plugin-mirror', 'sync'), /manifest\.json/);
  });

  it('works in the clone', slow, async () => {
    // Without a cache, npx prepares the clone as it prepares a package from git, and `prepare` builds dist/ again.
    const words = ['exec', '--no', '--ignore-scripts', '--', 'plugin-mirror', '--help'];
    assert.match(await npm(root, ...words), /^Usage: plugin-mirror/);
  });
});

interface Lock {
  readonly packages: Readonly<
    Record<
      string,
      {
        readonly resolved?: string;
        readonly integrity?: string;
        readonly optionalDependencies?: Readonly<Record<string, string>>;
      }
    >
  >;
}

describe('package-lock.json', () => {
  it("holds the optional packages of every platform: npm ci refuses a lock that has only one machine's", async () => {
    const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as Lock;
    const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).filter(
        name => !(`node_modules/${name}` in packages) && !(`${path}/node_modules/${name}` in packages),
      ),
    );
    assert.deepEqual(missing, []);
  });

  it('has the integrity of every package, also of other platforms', async () => {
    const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as Lock;
    const without = Object.entries(packages).filter(
      ([path, { integrity = '' }]) => path !== '' && !/^sha512-[\w+/]{86}==$/.test(integrity),
    );
    assert.deepEqual(without, []);
  });

  it('has no registry addresses: the user who installs chooses the registry', async () => {
    const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as Lock;
    assert.deepEqual(
      Object.values(packages).flatMap(({ resolved }) => resolved ?? []),
      [],
    );
  });
});
