import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';

const root = resolve(import.meta.dirname, '../..');
const entry = join(root, 'dist/cli/main.js');

/** The built command: it starts in a third of the time that a loader for TypeScript takes. */
export const ENTRY = process.env.PLUGIN_MIRROR_TEST_CLI ?? entry;

/** Whether ENTRY is compiled from this checkout. */
export const IS_OWN_BUILD = ENTRY === entry;

/** What is compiled before tests run: the command, and everything that tests import. `output` is written by each compilation. */
export const BUILDS = [
  { config: 'tsconfig.build.json', output: 'dist/cli/main.js' },
  { config: 'scripts/test/tsconfig.json', output: 'build/tsbuildinfo.json' },
] as const;

/** The JavaScript of a file of the tests, for a process of its own: it needs no loader. */
export function compiled(source: string): string {
  return join(root, 'build', source.replace(/\.ts$/, '.js'));
}

/** Returns a source that is newer than the output of a build, the output itself if it does not exist, or undefined. */
export function staleSource({ config, output }: (typeof BUILDS)[number]): string | undefined {
  const built = statSync(join(root, output), { throwIfNoEntry: false })?.mtimeMs;
  if (built === undefined) return output;
  const [own, shared] = [config, 'tsconfig.json'].map(
    path => JSON.parse(readFileSync(join(root, path), 'utf8')) as { include?: string[] },
  );
  return ['tsconfig.json', config, ...(own?.include ?? shared?.include ?? [])]
    .flatMap(path => (path.includes('.') ? path : sourcesBelow(path)))
    .find(path => statSync(join(root, path)).mtimeMs > built);
}

function sourcesBelow(folder: string): string[] {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
  return names.filter(name => /\.(?:ts|cjs)$/.test(name)).map(name => join(folder, name));
}

/**
 * Tests start processes from dist/ and build/. A run of all tests has built both just now and says so in
 * PLUGIN_MIRROR_TEST_BUILT; a file that is run in another way must not pass on yesterday's code.
 */
export function requireCurrentBuild(): void {
  if (!IS_OWN_BUILD || process.env.PLUGIN_MIRROR_TEST_BUILT === '1') return;
  for (const build of BUILDS) {
    const stale = staleSource(build);
    if (stale === undefined) continue;
    throw new Error(
      `${build.output} is older than ${stale}. Run this file with \`npm run test:one -- FILE\`, which builds first.`,
    );
  }
}
