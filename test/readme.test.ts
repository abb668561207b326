import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { EXIT } from '../cli/exit.ts';
import { buildProgram } from '../cli/program.ts';
import { parsePluginManifest } from '../mirror/manifest/readManifest.ts';
import { CHINESE_HELP } from '../scripts/generate/optionsZh.ts';
import { documentedOptions, renderOptionTable } from '../scripts/generate/optionTable.ts';
import { OPTION_DOCUMENTS, withOptionTable } from '../scripts/generate/writeOptions.ts';
import { WORDS } from '../server/pages/site/words.ts';
import { openScene, printed } from './support/cli.ts';

const root = resolve(import.meta.dirname, '..');
const read = (name: string) => readFileSync(join(root, name), 'utf8');
const [english, chinese] = [read('README.md'), read('README.zh-CN.md')];
const docs = readdirSync(join(root, 'docs'))
  .filter(name => name.endsWith('.md'))
  .map(name => `docs/${name}`);
const zhDocs = readdirSync(join(root, 'docs/zh'))
  .filter(name => name.endsWith('.md'))
  .map(name => `docs/zh/${name}`);
const rooms = ['base', 'layout', 'registry', 'tree', 'mirror', 'server', 'cli', 'higress', 'test'];
const documents = [
  ...['README.md', 'README.zh-CN.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md'],
  ...docs,
  ...zhDocs,
  ...rooms.map(room => `${room}/README.md`),
].filter(name => existsSync(join(root, name)));

/** Fenced blocks without their comments, which are translated. */
function codeBlocks(text: string): string[] {
  return [...text.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)].map(([, body = '']) => body.replace(/\s*# .*$/gm, ''));
}

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```$/gm, '');
}

/** The first cell of every row of a table, if it is code or a number. */
function firstCells(text: string): string[] {
  return [...withoutCode(text).matchAll(/^\| (`[^|]*|\d+) \|/gm)].map(([, cell = '']) => cell.trim());
}

/** As GitHub and npm make them of a heading. */
function anchorsOf(text: string): string[] {
  return [...withoutCode(text).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

for (const name of documents)
  test(`${name} links to files and headings that exist`, () => {
    const links = [...withoutCode(read(name)).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)];
    const broken = links.filter(([, path = '', anchor]) => {
      const file = path === '' ? join(root, name) : join(root, dirname(name), path);
      if (!existsSync(file)) return true;
      return anchor !== undefined && !anchorsOf(readFileSync(file, 'utf8')).includes(anchor);
    });
    assert.deepEqual(
      broken.map(([link]) => link),
      [],
    );
  });

test('the READMEs link to every document', () => {
  for (const text of [english, chinese])
    assert.deepEqual(
      docs.filter(path => !text.includes(`](${path})`)),
      [],
    );
});

test('the README fits on a few screens', () => {
  for (const text of [english, chinese]) assert.ok(text.split('\n').length <= 170, `${text.split('\n').length} lines`);
});

test('the options of the command line are listed in both languages', () => {
  for (const language of ['en', 'zh'] as const) {
    const text = read(OPTION_DOCUMENTS[language]);
    assert.equal(text, withOptionTable(text, language), 'npm run options writes the table');
  }
  const helps = new Set(documentedOptions().map(({ option }) => option.description));
  assert.deepEqual(
    [...helps].filter(help => CHINESE_HELP[help] === undefined),
    [],
    'scripts/generate/optionsZh.ts has the Chinese of every help',
  );
  assert.deepEqual(
    Object.keys(CHINESE_HELP).filter(help => !helps.has(help)),
    [],
    'and no other',
  );
  const rows = (path: string) =>
    [...read(path).matchAll(/^\| ([^|]+) \|/gm)].map(([, cell]) => cell).filter(cell => cell?.startsWith('`'));
  assert.deepEqual(rows('docs/zh/options.md'), rows('docs/options.md'));
});

test('both languages have the same sections, commands and rows', () => {
  const levels = (text: string) => [...withoutCode(text).matchAll(/^(#+) /gm)].map(([, marks]) => marks);
  assert.deepEqual(levels(chinese), levels(english));
  assert.deepEqual(codeBlocks(chinese), codeBlocks(english));
  assert.deepEqual(firstCells(chinese), firstCells(english));
});

test('docs/zh has only commands of the English documents', () => {
  for (const name of zhDocs) {
    const [translated, original] = [read(name), read(name.replace('/zh', ''))];
    const known = codeBlocks(original);
    assert.deepEqual(
      codeBlocks(translated).filter(block => !known.includes(block)),
      [],
      name,
    );
    assert.ok(original.includes(`](zh/${name.slice('docs/zh/'.length)})`), name);
  }
});

test('Chinese has one word for the tree, one for folders, and one for each catalog', () => {
  const texts = [...Object.entries(CHINESE_HELP), ...Object.values(WORDS)];
  const wrong = texts.filter(([text, translated]) => {
    // A word that is part of a command or an option is not translated.
    const words = text.replace(/--[a-z-]+|plugin-mirror \w+|`[^`]*`/g, '');
    const isTree = /\btree\b/i.test(words) || /folder that sync publishes/.test(words);
    const isFolder = /\bfolder\b/i.test(words) && !isTree;
    const isCatalog = /\bcatalog\b/i.test(words);
    return (
      isTree !== translated.includes('插件目录') ||
      (isFolder && !/(?<!插件)目录/.test(translated)) ||
      (isCatalog && !/索引|插件列表/.test(translated)) ||
      translated.includes('文件夹')
    );
  });
  assert.deepEqual(wrong, []);
  for (const name of ['README.zh-CN.md', ...zhDocs]) assert.doesNotMatch(read(name), /文件夹|源目录/, name);
});

test('the documents on CI and air gaps have the same sections, examples, rows and points in both languages', () => {
  for (const name of ['ci', 'airgap']) {
    const [translated, original] = [read(`docs/zh/${name}.md`), read(`docs/${name}.md`)];
    const outline = (text: string) =>
      text
        .replace(/^```[\s\S]*?^```/gm, '```')
        .split('\n')
        .flatMap(line => /^(?:#+ |```|\||- )/.exec(line)?.[0].trim() ?? []);
    assert.deepEqual(outline(translated), outline(original), name);
    assert.deepEqual(codeBlocks(translated), codeBlocks(original), name);
    const options = (text: string) => new Set(text.match(/(?<![\w-])--[a-z][a-z-]+/g));
    assert.deepEqual([...options(translated)].sort(), [...options(original)].sort(), name);
  }
});

test('the Chinese README links to Chinese documents where they exist, and names the English ones as such', () => {
  const links = [...chinese.matchAll(/(（\[英文\]\()?docs\/([a-z]+)\.md/g)];
  const wrong = links.filter(([, isMarked, name]) => isMarked === undefined && zhDocs.includes(`docs/zh/${name}.md`));
  assert.deepEqual(
    wrong.map(([link]) => link),
    [],
  );
});

test('the tables and lists of troubleshooting have the same rows in both languages', () => {
  const [translated, original] = [read('docs/zh/troubleshooting.md'), read('docs/troubleshooting.md')];
  const rows = (text: string) => [...text.matchAll(/^\| .*/gm)].map(([row]) => row);
  const codes = (text: string) => rows(text).map(row => /\| `([A-Z_]+)` \|/.exec(row)?.[1]);
  assert.deepEqual(codes(translated), codes(original));
  assert.ok(codes(original).filter(code => code !== undefined).length > 30, 'the search finds the codes');
  const points = (text: string) => [...text.matchAll(/^- \*\*/gm)].length;
  assert.equal(points(translated), points(original));
  // What is written as code in the first cell of a situation does not depend on the language.
  const situations = (text: string) =>
    rows(text.slice(0, text.lastIndexOf('\n## '))).map(row =>
      row
        .split(' | ')[0]
        ?.match(/`[^`]+`/g)
        ?.sort(),
    );
  assert.deepEqual(situations(translated), situations(original));
});

test('the README begins with the two commands for newcomers', () => {
  assert.deepEqual(codeBlocks(english)[0]?.trim().split('\n'), ['npm ci && npm run demo', 'npm ci && npm test']);
});

test('the README shows what serve prints', { timeout: 60_000 }, async t => {
  const scene = await openScene(t);
  scene.push('a', '1.0.0');
  await scene.list({ a: '1.0.0' });
  const synced = await scene.sync();
  assert.equal(synced.code, 0, synced.stderr);
  const shown = /^\$ npx plugin-mirror serve\n(.*)$/m.exec(english)?.[1] ?? '';
  assert.match(shown, /:8080\/$/);
  const serving = scene.start([
    'serve',
    '--port',
    '0',
    '--host',
    '127.0.0.1',
    '--access-log',
    'off',
    '--log-format',
    'text',
  ]);
  t.after(() => serving.child.kill('SIGKILL'));
  await printed(serving, /serving plugins at \S+\n/);
  const lines = serving
    .output()
    .replace(/(?:localhost|127\.0\.0\.1):\d+/, 'localhost:8080')
    .split('\n');
  assert.ok(lines.includes(shown), serving.output());
});

test('docs/errors.md shows an error as it is printed', async t => {
  const scene = await openScene(t);
  const { stderr } = await scene.sync('--manifest', 'nope.json');
  assert.equal(codeBlocks(read('docs/errors.md'))[0]?.trim(), stderr.trim().split('\n✗')[0]?.trim());
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
  const rows = firstCells(read('docs/manifest.md'));
  assert.deepEqual(
    keys.filter(key => !rows.includes(`\`${key}\``)),
    [],
  );
});

test('the manifests shown are valid', async () => {
  const shown = ['README.md', 'docs/manifest.md', 'docs/signatures.md'].flatMap(name =>
    codeBlocks(read(name)).filter(block => block.startsWith('{')),
  );
  assert.equal(shown.length, 3);
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

test('the option table has the options of nested commands', () => {
  const table = renderOptionTable('en');
  assert.match(table, /^\| `--cache-dir <dir>` \| `PLUGIN_MIRROR_CACHE_DIR` \|.*\| cache ls, cache clean \|/m);
  assert.match(table, /^\| `--keep <MiB>` \|.*\| cache clean \|/m);
});

test('every variable that the program reads has its row in docs/options.md', () => {
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
  // Set by the system, not for this program.
  const systems = ['HOME', 'USERPROFILE', 'TERM', 'PATH'];
  const rows = read('docs/options.md').matchAll(/^\|.*\|$/gm);
  const cells = new Set([...rows].flatMap(([row]) => row.match(/(?<=`)[A-Z_]+(?=`)/g) ?? []));
  assert.deepEqual(
    [...new Set(inSource)].filter(name => !systems.includes(name) && !cells.has(name)),
    [],
  );
});

test('docker waits longer than the server drains', () => {
  const serve = buildProgram('').commands.find(command => command.name() === 'serve');
  const seconds = (name: string) => Number(serve?.options.find(({ long }) => long === name)?.defaultValue) / 1000;
  const drain = seconds('--drain-delay') + seconds('--grace');
  for (const text of [english, chinese, read('docs/image.md')])
    for (const wait of [/--stop-timeout (\d+)/, /stop_grace_period: (\d+)s/])
      assert.ok(Number(wait.exec(text)?.[1]) > drain + 5, `${wait} is more than ${drain}`);
  assert.ok(
    english.includes(
      `${drain} s (\`--drain-delay\` ${seconds('--drain-delay')} s and \`--grace\` ${seconds('--grace')} s)`,
    ),
  );
});

test('every exit code and every command has its row in the README', () => {
  const rows = firstCells(english);
  assert.deepEqual(
    Object.values(EXIT).filter(code => !rows.includes(String(code))),
    [],
  );
  const names = buildProgram('').commands.map(command => command.name());
  assert.deepEqual(
    names.filter(name => !rows.some(row => row.startsWith(`\`${name}`))),
    [],
  );
});

test('every build argument has its row in docs/image.md', () => {
  const declared = new Set([...read('Dockerfile').matchAll(/^ARG (\w+)/gm)].map(([, name]) => name ?? ''));
  const listed = firstCells(read('docs/image.md')).flatMap(row => row.match(/[A-Z_]{4,}/g) ?? []);
  assert.ok(declared.size > 10);
  assert.deepEqual(
    [...declared].filter(name => !listed.includes(name)),
    [],
  );
});

test('docs/architecture.md and the READMEs of the rooms name files that exist', () => {
  for (const name of documents.filter(each => /architecture|^\w+\/README/.test(each))) {
    const room = name.startsWith('docs/') ? '' : dirname(name);
    const inRoom = room === '' ? [] : readdirSync(join(root, room), { recursive: true, encoding: 'utf8' });
    const named = [...withoutCode(read(name)).matchAll(/`([\w-]+(?:\/[\w.-]+)*(?:\.(?:ts|md|json)|\/))`/g)];
    const missing = named
      .map(([, path = '']) => path)
      .filter(path => ![room, '', 'docs'].some(base => existsSync(join(root, base, path))))
      .filter(path => !path.startsWith('COMMAND/'))
      // A README names the files of a folder that it has just named without that folder.
      .filter(path => !inRoom.some(each => each.endsWith(`/${path.replace(/\/$/, '')}`)))
      .filter(path => !/^(?:manifest\.lock|index|snapshot-inventory|metadata|spec|plugins)\b/.test(path));
    assert.deepEqual(missing, [], name);
  }
});
