import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import process from 'node:process';
import { BUILDS, staleSource } from '../../test/support/build.ts';

/*
 * npm test                     every test but those that are marked as slow (test/support/slow.ts)
 * npm run test:all             every test
 * npm run test:one -- WORD…    every test of the files with one of these words in their path
 *
 * Words limit the first two as well: npm test -- WORD….
 * Each compiles dist/ and build/ first. What else begins with `--` goes to `node --test`, e.g. --test-name-pattern=….
 */
const GROUPS = 'build/groups';
const MAX_GROUP = 12;
/** The import must begin within the suite's function: a module's tests belong to the suite whose function has begun its import. */
const GROUP_START = `import { describe } from 'node:test';
const suite = (name, load) =>
  new Promise(resolve => {
    describe(name, () => {
      const loaded = load();
      resolve(loaded.catch(() => undefined));
      return loaded;
    });
  });
`;

const root = resolve(import.meta.dirname, '../..');
const args = process.argv.slice(2);
const runsAll = args.includes('--all');
const runsOne = args.includes('--one');
const words = args.filter(arg => !arg.startsWith('--'));
const options = args.filter(arg => arg.startsWith('--') && arg !== '--all' && arg !== '--one');
// Most of a test's time is waiting. Slow tests compute more, and some compare durations.
const concurrency = availableParallelism() + (runsAll || runsOne ? 1 : 2);

const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.test.ts'))
  .map(name => join('test', name))
  .filter(path => (words.length === 0 ? !runsOne : words.some(word => path.includes(word))))
  .sort();
if (files.length === 0) {
  process.stderr.write(`No test file has ${words.join(' or ') || 'no word'} in its path: npm run test:one -- WORD…\n`);
  process.exit(2);
}

build();
// Building images takes the whole machine, and tests that measure time would notice.
const [shared, alone] = [files.filter(path => !buildsImages(path)), files.filter(buildsImages)];
const isWhole = !runsAll && !runsOne && options.length === 0;
if (shared.length > 0) process.exitCode = await run(isWhole ? grouped(shared) : shared, concurrency);
if (alone.length > 0) process.exitCode = (await run(alone, 1)) || process.exitCode;

function buildsImages(path: string): boolean {
  return process.env.PLUGIN_MIRROR_TEST_PEERS === '1' && /^test\/docker\/(?:airgap|build|image)\./.test(path);
}

function build(): void {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  for (const { config, output } of BUILDS.filter(one => staleSource(one) !== undefined)) {
    const started = new Date();
    // Types are checked by `npm run types`.
    const built = spawnSync(process.execPath, [tsc, '-p', config, '--noCheck'], { cwd: root, stdio: 'inherit' });
    if (built.status !== 0) process.exit(built.status ?? 1);
    // An output that did not change may keep its time.
    utimesSync(join(root, output), started, started);
  }
  chmodSync(join(root, 'dist/cli/main.js'), 0o755);
}

/**
 * Writes modules that each import several test files of a folder, and returns their paths. A process starts in a third of a
 * second, which is longer than the tests of many a file. In it, each file is a suite with its path as the name, which
 * reporter.js knows. One is imported after the other, so that a module they share is not half-loaded when the next begins.
 */
function grouped(paths: readonly string[]): string[] {
  rmSync(join(root, GROUPS), { recursive: true, force: true });
  mkdirSync(join(root, GROUPS), { recursive: true });
  return [...new Set(paths.map(path => dirname(path)))].flatMap(folder => {
    const inFolder = paths.filter(path => dirname(path) === folder);
    const count = Math.ceil(inFolder.length / MAX_GROUP);
    return Array.from({ length: count }, (_, number) => {
      const names = inFolder.filter((_path, index) => index % count === number);
      const suites = names.map(name => `await suite(${JSON.stringify(name)}, () => import('../../${name}'));`);
      const group = join(GROUPS, `${folder.replaceAll('/', '-')}-${number}.js`);
      writeFileSync(join(root, group), `${GROUP_START}${suites.join('\n')}\n`);
      return group;
    });
  });
}

/**
 * What changes how the command behaves in this shell or CI service must not change what tests see: colours, frozen lockfiles
 * and annotations in CI, proxies, and the variables of options.
 */
function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const settings = /^(?:CI|GITHUB_.*|FORCE_COLOR|NO_COLOR|(?:HTTPS?|ALL)_PROXY|PLUGIN_MIRROR_(?!TEST_).*)$/i;
  return Object.fromEntries(Object.entries(env).filter(([name]) => !settings.test(name)));
}

async function run(paths: readonly string[], atOnce: number): Promise<number> {
  const reporter = ['--test-reporter=./scripts/test/reporter.js', '--test-reporter-destination=stdout'];
  const compiled = ['--import', './scripts/test/loader.js', '--enable-source-maps'];
  const command = [...compiled, '--test', `--test-concurrency=${atOnce}`, ...reporter, ...options, ...paths];
  const marks = { PLUGIN_MIRROR_TEST_BUILT: '1', PLUGIN_MIRROR_TEST_SLOW: runsAll || runsOne ? '1' : '0' };
  const child = spawn(process.execPath, command, {
    cwd: root,
    env: { ...withoutSettings(process.env), ...marks },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child.stdout.pipe(process.stdout, { end: false });
  // A reader that went away (`npm test | head`) ends the run.
  process.stdout.once('error', () => child.kill());
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => child.kill(signal));
  const [code] = (await once(child, 'close')) as [number | null];
  return code ?? 1;
}
