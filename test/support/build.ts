import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';

const root = resolve(import.meta.dirname, '../..');
const entry = join(root, 'dist/cli/main.js');

/** The built command: it starts in a third of the time that a loader for TypeScript takes. */
export const ENTRY = process.env.PLUGIN_MIRROR_TEST_CLI ?? entry;

/** A source that is newer than dist/, or dist/ itself if it does not exist; undefined if dist/ is current. */
export function staleSource(): string | undefined {
  const built = statSync(entry, { throwIfNoEntry: false })?.mtimeMs;
  if (built === undefined) return 'dist/';
  const { include } = JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8')) as { include: string[] };
  return ['tsconfig.json', 'tsconfig.build.json', ...include]
    .flatMap(path => (path.includes('.') ? path : sourcesBelow(path)))
    .find(path => statSync(join(root, path)).mtimeMs > built);
}

function sourcesBelow(folder: string): string[] {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
  return names.filter(name => /\.(?:ts|cjs)$/.test(name)).map(name => join(folder, name));
}

/**
 * Tests of the command run what is in dist/. A run of all tests has built it just now and says so in
 * PLUGIN_MIRROR_TEST_BUILT; a file that is run by itself must not pass on yesterday's code.
 */
export function requireCurrentBuild(): void {
  if (ENTRY !== entry || process.env.PLUGIN_MIRROR_TEST_BUILT === '1') return;
  const stale = staleSource();
  if (stale === undefined) return;
  throw new Error(`dist/ is older than ${stale}. Run this file with \`npm run test:one -- FILE\`, which builds first.`);
}
