import { type Document, isNode, LineCounter, parseDocument, visit } from 'yaml';
import { isRecord } from '../../../base/shape.ts';
import type { InputProblem, RequestSource } from './pluginRequest.ts';

/**
 * Reads YAML and JSON that may be large and may be broken in places: one document, and one item of a list as kubectl prints
 * it, at a time, so that memory holds one resource and a mistake costs one resource.
 */

/** etcd takes 1.5 MiB, so that no resource of Kubernetes is as large as this. */
const mostResourceBytes = 4 * 1024 * 1024;
/** From this size on, long parts that no caller reads are skipped unread. */
const largeBytes = 512 * 1024;
/** The limit of the yaml package for the number of nodes that the aliases of a document expand to. */
const mostAliases = 100;
/** The yaml package looks for the anchor of each alias among all anchors. */
const mostAliasNodes = 1000;

const yamlRule = { expected: 'YAML or JSON' };
const templateHint =
  'A Helm template is no YAML before it is filled in: helm template CHART | plugin-mirror coverage -';

export type YamlPath = readonly (string | number)[];

export interface Resource {
  readonly value: unknown;
  readonly source: RequestSource;
  /** The line of the value at this path, or of the resource where the path is not in it. */
  lineOf(path: YamlPath): number;
}

export interface StreamOptions {
  /** Named in sources and problems. */
  readonly file: string;
  readonly report: (problem: InputProblem) => void;
}

/** Yields every document of the text, and of a Kubernetes list (`kind: List`, `WasmPluginList`) every item. */
export function* readResources(text: string, options: StreamOptions): Generator<Resource> {
  const whole = text.replace(/^\ufeff/, '');
  const isLarge = whole.length > largeBytes;
  let number = 0;
  for (const part of splitDocuments(whole)) {
    // Comments, white space and %YAML directives alone are no document.
    if (!/^[ \t]*[^\s#%]/m.test(part.text)) continue;
    number += 1;
    const source = { file: options.file, document: number };
    const json = /^\s*[[{]/.test(part.text) ? readJson(part, source) : undefined;
    const values = json === undefined ? jsonSequence(part) : [];
    if (json !== undefined) yield* json;
    else if (values.length < 2) yield* readYaml(part, { source, isLarge, ...options });
    else {
      for (const [at, value] of values.entries()) {
        const valueSource = { ...source, document: number + at };
        yield* readJson(value, valueSource) ?? readYaml(value, { source: valueSource, isLarge, ...options });
      }
      number += values.length - 1;
    }
  }
}

interface Part {
  /** The line of its first character, from 1. */
  readonly line: number;
  readonly text: string;
}

/** At `---` and `...` in the first column, which no scalar of YAML may hold (YAML 1.2.2, 9.1.2). */
function* splitDocuments(text: string): Generator<Part> {
  const marker = /^(?:---|\.\.\.)(?=\s|$)/gm;
  let start = 0;
  let line = 1;
  let counted = 0;
  for (let match = marker.exec(text); ; match = marker.exec(text)) {
    const end = match?.index ?? text.length;
    if (end > start) {
      line += countLines(text, counted, start);
      counted = start;
      yield { line, text: text.slice(start, end) };
    }
    if (match === null) return;
    // The rest of the line is content, as in `--- {a: 1}`.
    start = end + 3;
  }
}

/** JSON values one after another, as `kubectl get -o json` of several names and jq print them: each begins with a line of its own. */
function jsonSequence({ text, line }: Part): Part[] {
  if (!/^\s*\{(?!\{)/.test(text)) return [];
  const starts = [...text.matchAll(/^\{(?!\{)/gm)].map(({ index }) => index);
  let at = line;
  return starts.map((start, index) => {
    at += countLines(text, starts[index - 1] ?? 0, start);
    return { line: at, text: text.slice(start, starts[index + 1]) };
  });
}

/**
 * The items of a list in block style; undefined for anything else. No line that belongs to an item can begin with a dash in
 * the column of the items' own dashes, since it is indented more (YAML 1.2.2, 8.2.1).
 */
function splitList({ text, line }: Part): Part[] | undefined {
  const head = /^items:[ \t]*\r?\n([ ]*)- /m.exec(text);
  if (head === null || !/^kind: *["']?\w*List\b/m.test(text)) return undefined;
  const indent = head[1] ?? '';
  const start = head.index + head[0].length - indent.length - 2;
  const dash = new RegExp(`^${indent}- `, 'gm');
  const end = new RegExp(`^(?=[^ #\\r\\n])(?!${indent}- )`, 'gm');
  end.lastIndex = start;
  const stop = end.exec(text)?.index ?? text.length;
  const parts: Part[] = [];
  let at = line;
  let counted = 0;
  for (let from = start; from < stop; ) {
    dash.lastIndex = from + 1;
    const next = Math.min(dash.exec(text)?.index ?? stop, stop);
    at += countLines(text, counted, from);
    counted = from;
    parts.push({ line: at, text: text.slice(from, next) });
    from = next;
  }
  return parts;
}

interface Reading extends StreamOptions {
  readonly source: RequestSource;
  readonly isLarge: boolean;
}

function* readYaml(part: Part, reading: Reading): Generator<Resource> {
  const { isLarge, source, report } = reading;
  const items = isLarge ? splitList(part) : undefined;
  if (items !== undefined) {
    for (const item of items) yield* readYaml(item, reading);
    return;
  }
  let short: ShortText = isLarge ? withoutLongParts(part.text) : part;
  let parsed = parseYaml(short.text);
  if ('problem' in parsed && short.text !== part.text) {
    // Leaving parts out may have made the mistake; the text as it is decides.
    short = part;
    parsed = parseYaml(part.text);
  }
  if ('problem' in parsed) {
    // A mistake in one item of a list costs that item.
    const parts = splitList(part);
    if (parts !== undefined && parts.length > 1) for (const each of parts) yield* readYaml(each, reading);
    else
      report({
        source: { ...source, line: part.line + parsed.line - 1 },
        found: parsed.problem,
        ...yamlRule,
        ...(part.text.includes('{{') ? { hint: templateHint } : {}),
      });
    return;
  }
  const { document, value, lines } = parsed;
  const lineAt = (offset: number): number => {
    const line = lines.linePos(offset).line - 1;
    return part.line + (short.offsets?.[line] ?? line);
  };
  const lineOf = (path: YamlPath): number => {
    for (let length = path.length; length > 0; length -= 1) {
      const offset = offsetOf(document.getIn(path.slice(0, length), true));
      if (offset !== undefined) return lineAt(offset);
    }
    return lineAt(offsetOf(document.contents) ?? 0);
  };
  // An item that was cut out of a list is a list of one.
  const listed = Array.isArray(value) ? { list: value, path: [] } : itemsOf(value);
  if (listed === undefined) yield { value, source: { ...source, line: lineOf([]) }, lineOf };
  else
    for (const [index, item] of listed.list.entries()) {
      const path = [...listed.path, index];
      const below = (rest: YamlPath): number => lineOf([...path, ...rest]);
      yield { value: item, source: { ...source, line: lineOf(path) }, lineOf: below };
    }
}

/** The items of a list. Those of a typed list (`WasmPluginList`) may lack their kind, as clients in Go print them. */
function itemsOf(value: unknown): { readonly list: readonly unknown[]; readonly path: readonly string[] } | undefined {
  if (!isRecord(value) || typeof value.kind !== 'string' || !value.kind.endsWith('List')) return undefined;
  if (!Array.isArray(value.items)) return undefined;
  const { apiVersion } = value;
  const kind = value.kind.slice(0, -'List'.length);
  const list =
    kind === '' ? value.items : value.items.map(item => (isRecord(item) ? { apiVersion, kind, ...item } : item));
  return { list, path: ['items'] };
}

type Parsed =
  | { readonly document: Document; readonly value: unknown; readonly lines: LineCounter }
  | { readonly problem: string; readonly line: number };

function parseYaml(text: string): Parsed {
  if (text.length > mostResourceBytes)
    return { problem: `more than ${mostResourceBytes >> 20} MiB in one piece`, line: 1 };
  const lines = new LineCounter();
  try {
    const document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      merge: true,
      // As in Kubernetes, the last of two counts.
      uniqueKeys: false,
      logLevel: 'silent',
    });
    const [error] = document.errors;
    if (error !== undefined)
      return { problem: sentence(error.message), line: lines.linePos(Math.min(error.pos[0], text.length)).line };
    const alias = text.includes('*') ? aliasAfter(document, mostAliasNodes) : undefined;
    if (alias !== undefined)
      return { problem: `more than ${mostAliasNodes} aliases in one resource`, line: lines.linePos(alias).line };
    return { document, value: document.toJS({ maxAliasCount: mostAliases }), lines };
  } catch (error) {
    // The parser recurses, and so ends in the runtime's own RangeError.
    const problem = error instanceof RangeError ? 'collections nested too deeply' : sentence(String(error));
    return { problem, line: 1 };
  }
}

/** Returns the offset of the first alias after the first `most` ones; undefined if there are no more. */
function aliasAfter(document: Document, most: number): number | undefined {
  let count = 0;
  let found: number | undefined;
  visit(document, {
    Alias(_key, node) {
      count += 1;
      if (count <= most) return undefined;
      found = offsetOf(node) ?? 0;
      return visit.BREAK;
    },
  });
  return found;
}

function sentence(message: string): string {
  return (message.split('\n')[0] ?? '').replace(/^\w*Error: /, '').slice(0, 200);
}

/**
 * JSON by the runtime's parser, which reads 10 MB in a tenth of a second; undefined where it is no JSON. Lines are looked up
 * in the text by the member's value, in the order of the resources.
 */
function readJson(part: Part, source: RequestSource): Resource[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(part.text);
  } catch {
    return undefined;
  }
  let from = 0;
  let at = 0;
  let line = part.line;
  const items = Array.isArray(value) ? value : (itemsOf(value)?.list ?? [value]);
  return items.map(item => {
    const url = isRecord(item) && isRecord(item.spec) ? item.spec.url : undefined;
    const found = typeof url === 'string' ? part.text.indexOf(JSON.stringify(url), from) : -1;
    if (found >= 0) {
      line += countLines(part.text, at, found);
      at = found;
      from = found + 1;
    }
    const here = line;
    return { value: item, source: { ...source, ...(found >= 0 ? { line: here } : {}) }, lineOf: () => here };
  });
}

/** Keys whose values no caller reads and that make up most of a large dump. */
const longKeys = 'annotations|config|defaultConfig|managedFields|matchRules|pluginConfig|status|vmConfig';
const longKey = new RegExp(`^((?: |- )*)(${longKeys}):[ \\t]*\\r?$`);

/**
 * The text with an empty object for every block below one of those keys; of matchRules it keeps whether one is enabled. A
 * block ends at the first line that is not indented more than its key, but for a sequence, which may begin in the key's own
 * column (YAML 1.2.2, 8.2.2).
 */
function withoutLongParts(text: string): ShortText {
  const lines = text.split('\n');
  const kept: string[] = [];
  const offsets: number[] = [];
  for (let at = 0; at < lines.length; ) {
    const line = lines[at] ?? '';
    offsets.push(at);
    const [, before = '', key] = longKey.exec(line) ?? [];
    if (key === undefined) {
      kept.push(line);
      at += 1;
      continue;
    }
    const end = blockEnd(lines, at + 1, before.length);
    const value = key === 'matchRules' ? `[{configDisable: ${areDisabled(lines.slice(at + 1, end))}}]` : '{}';
    kept.push(`${before}${key}: ${value}`);
    at = end;
  }
  return { text: kept.join('\n'), offsets };
}

interface ShortText {
  readonly text: string;
  /** For each line how many lines precede it in the whole text; absent where nothing was left out. */
  readonly offsets?: readonly number[];
}

function blockEnd(lines: readonly string[], from: number, column: number): number {
  for (let at = from; at < lines.length; at += 1) {
    const line = lines[at] ?? '';
    const indent = line.search(/[^ \r]/);
    if (indent >= 0 && indent <= column && !(indent === column && line.startsWith('- ', indent))) return at;
  }
  return lines.length;
}

/** Whether every item of a block of matchRules has `configDisable: true`. */
function areDisabled(lines: readonly string[]): boolean {
  const column = lines[0]?.search(/[^ ]/) ?? 0;
  const rules = lines.filter(line => line.startsWith('- ', column) && line.search(/[^ ]/) === column);
  const disabled = lines.filter(
    line => line.startsWith('configDisable: true', column + 2) && /^(?: |- )*configDisable: true *\r?$/.test(line),
  );
  return rules.length === disabled.length;
}

function offsetOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}

function countLines(text: string, from: number, to: number): number {
  let count = 0;
  for (let at = text.indexOf('\n', from); at >= 0 && at < to; at = text.indexOf('\n', at + 1)) count += 1;
  return count;
}
