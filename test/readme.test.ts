import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { EXIT } from '../cli/exit.ts';
import { buildProgram } from '../cli/program.ts';
import { parsePluginManifest } from '../mirror/manifest/readManifest.ts';
import { renderErrorTable } from '../scripts/generate/errorTable.ts';
import { renderOptionTable } from '../scripts/generate/optionTable.ts';
import { withTables } from '../scripts/generate/readmeTables.ts';

const root = resolve(import.meta.dirname, '..');
const read = (name: string) => readFileSync(join(root, name), 'utf8');
const readmes = { 'README.md': read('README.md'), 'README.zh-CN.md': read('README.zh-CN.md') };
const [english, chinese] = [readmes['README.md'], readmes['README.zh-CN.md']];

/** Fenced blocks without their comments, which are translated. */
function codeBlocks(text: string): string[] {
  return [...text.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)].map(([, body = '']) => body.replace(/\s*# .*$/gm, ''));
}

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```$/gm, '');
}

/** What stands in the first cell of every row, headings of tables aside. */
function firstCells(text: string): string[] {
  return [...withoutCode(text).matchAll(/^\| (`[^|]*|\d+) \|/gm)].map(([, cell = '']) => cell.trim());
}

for (const [name, text] of Object.entries(readmes)) {
  test(`${name} lists options as the command line has them, and error codes as docs/errors.md has them`, () => {
    assert.equal(text, withTables(text), 'npm run options writes the tables anew');
  });

  test(`${name} links to files that are there`, () => {
    const links = [...withoutCode(text).matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path = '']) => path);
    assert.ok(links.length > 4);
    assert.deepEqual(
      links.filter(path => !existsSync(join(root, path))),
      [],
    );
  });
}

test('both languages have the same sections, commands and rows', () => {
  const levels = (text: string) => [...withoutCode(text).matchAll(/^(#+) /gm)].map(([, marks]) => marks);
  assert.deepEqual(levels(chinese), levels(english));
  assert.deepEqual(codeBlocks(chinese), codeBlocks(english));
  assert.deepEqual(firstCells(chinese), firstCells(english));
});

test('the two commands that a newcomer needs stand first', () => {
  assert.deepEqual(codeBlocks(english)[0]?.trim().split('\n'), ['npm ci && npm run demo', 'npm ci && npm test']);
});

test('every key of the manifest has its row', () => {
  interface Schema {
    readonly properties?: Readonly<Record<string, Schema>>;
    readonly additionalProperties?: Schema;
    readonly anyOf?: readonly Schema[];
  }
  const { properties } = JSON.parse(read('manifest.schema.json')) as Schema;
  const keysOf = (schema: Schema | undefined) =>
    Object.keys(schema?.anyOf?.find(({ properties }) => properties)?.properties ?? {});
  const ofPlugin = keysOf(properties?.plugins?.additionalProperties);
  const ofPolicy = keysOf(properties?.signatures);
  assert.ok(ofPlugin.length >= 5 && ofPolicy.length >= 7, 'the search finds keys');
  const keys = [
    ...Object.keys(properties ?? {}),
    ...ofPlugin.map(key => `plugins.*.${key}`),
    ...ofPolicy.map(key => `signatures.${key}`),
  ];
  const rows = firstCells(english);
  assert.deepEqual(
    keys.filter(key => !rows.includes(`\`${key}\``)),
    [],
  );
});

test('the manifests shown are good ones', async () => {
  const shown = codeBlocks(english).filter(block => block.startsWith('{'));
  assert.equal(shown.length, 2);
  const dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-readme-'));
  try {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await writeFile(join(dir, 'cosign.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
    await writeFile(join(dir, 'trusted_root.json'), '{"certificateAuthorities": []}');
    await mkdir(join(dir, 'local'));
    await writeFile(join(dir, 'local/main.wasm'), '');
    const plugins = { mine: { image: 'harbor.example.com/team/mine', versions: ['1.0.0'] }, other: '1.0.0' };
    const kinds = [];
    for (const block of shown) {
      const text = JSON.stringify({ plugins, ...JSON.parse(block) });
      const { versions } = await parsePluginManifest(text, { file: join(dir, 'manifest.json') });
      kinds.push(...versions.flatMap(({ signatures }) => signatures?.kind ?? []));
    }
    assert.deepEqual(kinds, ['key', 'keyless']);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('every command below a command has its options in the table', () => {
  const table = renderOptionTable();
  assert.match(table, /^\| `--cache-dir <dir>` \| `PLUGIN_MIRROR_CACHE_DIR` \|.*\| cache ls, cache clean \|/m);
  assert.match(table, /^\| `--keep <MiB>` \|.*\| cache clean \|/m);
});

test('every variable that the program reads has its row', () => {
  const inSource = ['cli', 'registry', 'server', 'mirror', 'tree']
    .flatMap(room =>
      readdirSync(join(root, room), { recursive: true, encoding: 'utf8' }).map(name => `${room}/${name}`),
    )
    .filter(name => name.endsWith('.ts'))
    .flatMap(name => [
      ...read(name).matchAll(/\benv\??\.([A-Z][A-Z_]+)|['"](?=PLUGIN_MIRROR_[A-Z_]+['"])([A-Z_]+)|read\(env, '(\w+)'/g),
    ])
    .map(([, dotted, quoted, proxy]) => dotted ?? quoted ?? proxy?.toUpperCase() ?? '');
  for (const command of buildProgram('').commands)
    inSource.push(...command.options.flatMap(({ envVar }) => envVar ?? []));
  assert.ok(inSource.length > 60, 'the search finds variables');
  // What the system itself sets, and nobody for this program.
  const systems = ['HOME', 'USERPROFILE', 'TERM'];
  const cells = new Set([...english.matchAll(/^\|.*\|$/gm)].flatMap(([row]) => row.match(/(?<=`)[A-Z_]+(?=`)/g) ?? []));
  assert.deepEqual(
    [...new Set(inSource)].filter(name => !systems.includes(name) && !cells.has(name)),
    [],
  );
});

test('every error code is in the table, once, beside its exit code and a link to its section', () => {
  const errors = read('docs/errors.md');
  const table = renderErrorTable(errors);
  const told = [...table.matchAll(/`([A-Z_]+)`/g)].map(([, code]) => code).sort();
  assert.ok(told.length > 50);
  assert.deepEqual(told, [...errors.matchAll(/^\| `([A-Z_]+)`/gm)].map(([, code]) => code).sort());
  assert.match(table, /^\| \[The lock\]\(docs\/errors\.md#the-lock\) \| 3 \| `FROZEN_LOCK_MISSING`/m);
  assert.match(table, /^\| .*\(docs\/errors\.md#what-you-wrote-manifest-options-lists\) \| 2 \| `MANIFEST_INVALID`/m);
});

test('docker is told to wait for as long as the server wants to drain', () => {
  const serve = buildProgram('').commands.find(command => command.name() === 'serve');
  const seconds = (name: string) => Number(serve?.options.find(({ long }) => long === name)?.defaultValue) / 1000;
  const drain = seconds('--drain-delay') + seconds('--grace');
  for (const text of [english, chinese])
    for (const wait of [/--stop-timeout (\d+)/, /stop_grace_period: (\d+)s/])
      assert.ok(Number(wait.exec(text)?.[1]) > drain + 5, `${wait} is more than ${drain}`);
  assert.ok(english.includes(`${drain} s (\`--drain-delay\` ${seconds('--drain-delay')} s`));
});

test('every exit code and every build argument has its row', () => {
  const rows = firstCells(english);
  assert.deepEqual(
    Object.values(EXIT).filter(code => !rows.includes(String(code))),
    [],
  );
  const declared = new Set([...read('Dockerfile').matchAll(/^ARG (\w+)/gm)].map(([, name]) => name ?? ''));
  const told = rows.flatMap(row => row.match(/[A-Z_]{4,}/g) ?? []);
  assert.deepEqual(
    [...declared].filter(name => !told.includes(name)),
    [],
  );
});

test('every command has its row', () => {
  const rows = firstCells(english);
  const names = buildProgram('').commands.map(command => command.name());
  assert.deepEqual(
    names.filter(name => !rows.some(row => row.startsWith(`\`${name}`))),
    [],
  );
});
