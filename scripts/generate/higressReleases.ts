import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import process from 'node:process';

/**
 * Writes higress/console/<release>.json from a tab-separated table of what each release of Higress Console requests, with the
 * columns release, key, name, version and image (lines that begin with # are comments):
 * `npx tsx scripts/generate/higressReleases.ts TABLE.tsv`.
 */
const [table] = process.argv.slice(2);
if (table === undefined) {
  console.error('usage: npx tsx scripts/generate/higressReleases.ts TABLE.tsv');
  process.exit(2);
}

const releases = new Map<string, Map<string, string>>();
const rows = (await readFile(table, 'utf8')).split('\n').filter(line => line !== '' && !line.startsWith('#'));
for (const row of rows.slice(1)) {
  const [release, , name, version, image] = row.split('\t');
  if (!release || !name || !version || !image) throw new Error(`a row without its five columns: ${row}`);
  const plugins = releases.get(release) ?? new Map<string, string>();
  releases.set(release, plugins.set(name, entry(name, version, image)));
}

const folder = join(resolve(import.meta.dirname, '../..'), 'higress/console');
await mkdir(folder, { recursive: true });
for (const [release, plugins] of releases) {
  const lines = [...plugins].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => `    "${name}": ${value}`);
  const text = `{\n  "release": "${release}",\n  "plugins": {\n${lines.join(',\n')}\n  }\n}\n`;
  await writeFile(join(folder, `${release}.json`), text);
}

/** The version alone where the image is plugins/<name> with that version as its tag in the Higress registry. */
function entry(name: string, version: string, image: string): string {
  const registry = 'higress-registry.cn-hangzhou.cr.aliyuncs.com/';
  if (!image.startsWith(registry)) throw new Error(`${name}: ${image} is in another registry`);
  const short = image.slice(registry.length);
  return short === `plugins/${name}:${version}` ? `"${version}"` : `{ "version": "${version}", "image": "${short}" }`;
}
