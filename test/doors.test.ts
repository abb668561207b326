import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';

const root = resolve(import.meta.dirname, '..');
const rooms = ['base', 'layout', 'registry', 'tree', 'mirror', 'server', 'cli'].filter(room =>
  existsSync(join(root, room)),
);

/** Which rooms a room may import (docs/architecture.md, "Doors"). `higress` is data: no code lives there. */
const doors: Readonly<Record<string, readonly string[]>> = {
  cli: ['mirror', 'server', 'registry', 'tree', 'layout', 'higress', 'base'],
  mirror: ['registry', 'tree', 'layout', 'higress', 'base'],
  server: ['tree', 'layout', 'higress', 'base'],
  registry: ['layout', 'base'],
  tree: ['base'],
  layout: ['base'],
  base: [],
};

/** Libraries that only certain rooms may import. */
const homes: Readonly<Record<string, readonly string[]>> = {
  commander: ['cli'],
  picocolors: ['cli'],
  'log-update': ['cli'],
  execa: ['registry'],
  undici: ['registry'],
  tar: ['layout', 'mirror', 'tree'],
  fzstd: ['mirror'],
  picomatch: ['base'],
  express: ['server'],
  'markdown-it': ['server'],
  'dot-properties': ['mirror'],
  'jsonc-parser': ['mirror'],
  yaml: ['mirror', 'server'],
};

/** Folders that may hold fewer than 3 or more than 12 files, and why. */
const FOLDER_EXCEPTIONS: Readonly<Record<string, string>> = {
  'registry/builtin': 'the engine is one file over its folders',
};

/** A command of the terminal is a folder of its own, however small it is. */
const isCommandFolder = (folder: string) => /^cli\/\w+$/.test(folder) && existsSync(join(root, folder, 'command.ts'));

/** Files of less than 35 lines with one importer, and why they are files of their own. */
const SMALL_FILE_EXCEPTIONS: Readonly<Record<string, string>> = {};

interface Source {
  readonly path: string;
  readonly room: string;
  readonly text: string;
  readonly imports: readonly string[];
}

const sources = rooms.flatMap(room =>
  readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map((name): Source => {
      const path = join(room, name);
      const text = readFileSync(join(root, path), 'utf8');
      return { path, room, text, imports: importsOf(text) };
    }),
);

function importsOf(text: string): string[] {
  const code = withoutComments(text);
  return [
    ...code.matchAll(/(?:\bfrom\s*|\bimport\s*\(\s*|\bimport\s+|getBuiltinModule\(\s*)(['"`])([^'"`\n]+)\1/g),
  ].map(([, , name]) => name ?? '');
}

/** The imports that load another file when the program runs: all but those of types. */
function loadsOf(text: string): string[] {
  return importsOf(withoutComments(text).replace(/\b(?:im|ex)port type\b[^;]*;/g, ''));
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}

/** The file in the checkout that an import names; undefined for a package. */
function target(source: Source, specifier: string): string | undefined {
  return specifier.startsWith('.') ? relative(root, resolve(root, dirname(source.path), specifier)) : undefined;
}

function packageOf(specifier: string): string {
  const [first = '', second = ''] = specifier.split('/');
  return first.startsWith('@') ? `${first}/${second}` : first;
}

test('the test finds the sources and their imports', () => {
  for (const room of rooms)
    assert.ok(
      sources.some(source => source.room === room && source.text !== ''),
      room,
    );
  assert.deepEqual(
    importsOf("import type { A } from './a.ts';\nconst b = await import('b');\nimport 'c';\n// from 'd'"),
    ['./a.ts', 'b', 'c'],
  );
});

test('rooms import only through their doors', () => {
  const wrong = sources.flatMap(source =>
    source.imports.flatMap(specifier => {
      const path = target(source, specifier);
      const room = path?.split('/')[0];
      if (path === undefined || room === source.room || doors[source.room]?.includes(room ?? '')) return [];
      return `${source.path} imports ${path}`;
    }),
  );
  assert.deepEqual(wrong, []);
});

/** The stages of a run. cli sees them through mirror/sync/sync.ts and mirror/check/, see mirror/README.md. */
const mirrorStages = ['plan', 'sync', 'extract', 'signatures'].map(folder => `mirror/${folder}/`);

test('cli imports no stage of a run by itself', () => {
  const wrong = sources
    .filter(({ room }) => room === 'cli')
    .flatMap(source => source.imports.map(specifier => ({ source, path: target(source, specifier) ?? '' })))
    .filter(({ path }) => path !== 'mirror/sync/sync.ts' && mirrorStages.some(folder => path.startsWith(folder)))
    .map(({ source, path }) => `${source.path} imports ${path}`);
  assert.deepEqual(wrong, []);
});

test('only the rooms that may import a library do so', () => {
  const wrong = sources.flatMap(source =>
    source.imports
      .map(packageOf)
      .filter(name => homes[name]?.includes(source.room) === false)
      .map(name => `${source.path} imports ${name}`),
  );
  assert.deepEqual(wrong, []);
});

test('every package that the program imports is in dependencies, not in devDependencies', () => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: object };
  const known = new Set([...Object.keys(dependencies), '']);
  const wrong = sources.flatMap(source =>
    source.imports
      .filter(specifier => !/^(?:\.|node:)/.test(specifier) && !known.has(packageOf(specifier)))
      .map(specifier => `${source.path} imports ${specifier}`),
  );
  assert.deepEqual(wrong, []);
});

test('no file imports itself through others when the program runs', () => {
  assert.deepEqual(
    circles(({ text }) => loadsOf(text)),
    [],
  );
});

test('no file imports itself through others, types included', () => {
  assert.deepEqual(
    circles(({ imports }) => imports),
    [],
  );
});

function circles(wantedBy: (source: Source) => readonly string[]): string[] {
  const edges = new Map(
    sources.map(source => [source.path, wantedBy(source).flatMap(specifier => target(source, specifier) ?? [])]),
  );
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (path: string, way: readonly string[]): void => {
    if (way.includes(path)) found.push(fromFirst(way.slice(way.indexOf(path))).join(' → '));
    if (way.includes(path) || done.has(path)) return;
    for (const next of edges.get(path) ?? []) visit(next, [...way, path]);
    done.add(path);
  };
  for (const path of edges.keys()) visit(path, []);
  return found;
}

/** Turns a circle so that it begins with the first of its names: it is then the same in every report. */
function fromFirst(circle: readonly string[]): string[] {
  const start = circle.indexOf([...circle].sort()[0] ?? '');
  const turned = [...circle.slice(start), ...circle.slice(0, start)];
  return [...turned, ...turned.slice(0, 1)];
}

test('every relative import names a file that exists', () => {
  const wrong = sources.flatMap(source =>
    source.imports.flatMap(specifier => {
      const path = target(source, specifier);
      return path === undefined || existsSync(join(root, path)) ? [] : `${source.path} imports ${specifier}`;
    }),
  );
  assert.deepEqual(wrong, []);
});

test('only cli reads the environment, prints or ends the process', () => {
  const forbidden = /(?<!\w)process\.(?:env|exit|exitCode|argv|stdin|stdout|stderr)\b|\bconsole\.\w/g;
  const wrong = sources
    .filter(({ room }) => room !== 'cli')
    .flatMap(({ path, text }) => (withoutComments(text).match(forbidden) ?? []).map(found => `${path}: ${found}`));
  assert.deepEqual(wrong, []);
});

/** The TypeScript files of each folder. */
const folders = new Map<string, Source[]>();
for (const source of sources) {
  const folder = dirname(source.path);
  folders.set(folder, [...(folders.get(folder) ?? []), source]);
}
const hasSubfolders = (folder: string) => [...folders.keys()].some(other => other.startsWith(`${folder}/`));

test('a folder within a room holds 3 to 12 files', () => {
  const wrong = [...folders]
    .filter(([folder]) => folder.includes('/') && !isCommandFolder(folder) && FOLDER_EXCEPTIONS[folder] === undefined)
    .filter(([, files]) => files.length < 3 || files.length > 12)
    .map(([folder, files]) => `${folder} holds ${files.length}`);
  assert.deepEqual(wrong, []);
});

test('a file of less than 35 lines with one importer is part of that importer', () => {
  const importers = new Map<string, string[]>();
  for (const source of sources)
    for (const path of new Set(source.imports.flatMap(specifier => target(source, specifier) ?? [])))
      importers.set(path, [...(importers.get(path) ?? []), source.path]);
  const wrong = sources
    .filter(({ path, text }) => text.split('\n').length <= 35 && importers.get(path)?.length === 1)
    .filter(({ path }) => !/^cli\/\w+\/command\.ts$/.test(path) && SMALL_FILE_EXCEPTIONS[path] === undefined)
    .map(({ path }) => `${path} is used by ${importers.get(path)} alone`);
  assert.deepEqual(wrong, []);
});

/**
 * A folder without subfolders is one unit. The files above it count separately: a room's errors.ts is below all of
 * its folders, and the file that puts them together is above them.
 */
function unitOf(path: string): string {
  const folder = dirname(path);
  return folder.includes('/') && !hasSubfolders(folder) ? folder : path;
}

test('no circle between the folders of a room', () => {
  const edges = new Map<string, Set<string>>();
  for (const source of sources)
    for (const path of source.imports.flatMap(specifier => target(source, specifier) ?? [])) {
      const [from, to] = [unitOf(source.path), unitOf(path)];
      if (from !== to) edges.set(from, (edges.get(from) ?? new Set()).add(to));
    }
  const reachable = (from: string): Set<string> => {
    const found = new Set<string>();
    const visit = (unit: string) => {
      for (const next of edges.get(unit) ?? [])
        if (!found.has(next)) {
          found.add(next);
          visit(next);
        }
    };
    visit(from);
    return found;
  };
  const inCircle = [...edges.keys()].filter(unit => reachable(unit).has(unit));
  const groups = new Set(
    inCircle.map(unit =>
      inCircle
        .filter(other => reachable(unit).has(other))
        .sort()
        .join(' '),
    ),
  );
  assert.deepEqual([...groups], []);
});

test('every exception is still needed', () => {
  const folderSizes = new Map([...folders].map(([folder, files]) => [folder, files.length]));
  const stale = [
    ...Object.keys(FOLDER_EXCEPTIONS).filter(folder => {
      const size = folderSizes.get(folder) ?? 3;
      return size >= 3 && size <= 12;
    }),
    ...Object.keys(SMALL_FILE_EXCEPTIONS).filter(
      path => (sources.find(source => source.path === path)?.text.split('\n').length ?? 36) > 35,
    ),
  ];
  assert.deepEqual(stale, []);
});
