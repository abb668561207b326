import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';

const root = resolve(import.meta.dirname, '..');
const rooms = ['cli', 'mirror', 'registry', 'tree', 'server', 'base'] as const;

/** docs/architecture.md, «Doors»: who may import whom. */
const doors: Readonly<Record<string, readonly string[]>> = {
  cli: ['mirror', 'server', 'tree', 'registry', 'base'],
  mirror: ['registry', 'tree', 'base'],
  server: ['tree', 'base'],
  registry: ['base'],
  tree: ['base'],
  base: [],
};

/** Libraries that live in certain rooms alone. */
const homes: Readonly<Record<string, readonly string[]>> = {
  commander: ['cli'],
  picocolors: ['cli'],
  'log-update': ['cli'],
  execa: ['registry'],
  undici: ['registry'],
  tar: ['mirror', 'tree'],
  fzstd: ['mirror'],
  express: ['server'],
  'markdown-it': ['server'],
  'dot-properties': ['mirror'],
  'jsonc-parser': ['mirror'],
};

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

/** Those that load another file when the program runs. */
function loadsOf(text: string): string[] {
  return importsOf(withoutComments(text).replace(/\b(?:im|ex)port type\b[^;]*;/g, ''));
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}

/** The file inside the checkout that an import means; undefined for packages. */
function target(source: Source, specifier: string): string | undefined {
  return specifier.startsWith('.') ? relative(root, resolve(root, dirname(source.path), specifier)) : undefined;
}

function packageOf(specifier: string): string {
  const [first = '', second = ''] = specifier.split('/');
  return first.startsWith('@') ? `${first}/${second}` : first;
}

test('there is something to look at', () => {
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

test('a library lives where the house says', () => {
  const wrong = sources.flatMap(source =>
    source.imports
      .map(packageOf)
      .filter(name => homes[name]?.includes(source.room) === false)
      .map(name => `${source.path} imports ${name}`),
  );
  assert.deepEqual(wrong, []);
});

test('every package that the program imports is one of its dependencies, not of its development', () => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: object };
  const known = new Set([...Object.keys(dependencies), '']);
  const wrong = sources.flatMap(source =>
    source.imports
      .filter(specifier => !/^(?:\.|node:)/.test(specifier) && !known.has(packageOf(specifier)))
      .map(specifier => `${source.path} imports ${specifier}`),
  );
  assert.deepEqual(wrong, []);
});

test('no file waits for itself to be loaded', () => {
  assert.deepEqual(
    circles(({ text }) => loadsOf(text)),
    [],
  );
});

test('no two files need each other’s types', () => {
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

/** A circle begins nowhere: told from the first of its names, it is always the same. */
function fromFirst(circle: readonly string[]): string[] {
  const start = circle.indexOf([...circle].sort()[0] ?? '');
  const turned = [...circle.slice(start), ...circle.slice(0, start)];
  return [...turned, ...turned.slice(0, 1)];
}

test('imports name files that are there', () => {
  const paths = new Set(sources.map(({ path }) => path));
  const wrong = sources.flatMap(source =>
    source.imports.flatMap(specifier => {
      const path = target(source, specifier);
      return path === undefined || paths.has(path) ? [] : `${source.path} imports ${specifier}`;
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
