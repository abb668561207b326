import { type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser';
import { excessOf } from '../../base/boundedJson.ts';
import { LoopTurn } from '../../base/eventLoop.ts';
import { plural } from '../../base/words.ts';
import { formatPath, MOST_PROBLEMS, type Path, type Problem, quoted } from './problem.ts';

/** A JSON document (RFC 8259) whose values know their position in the text. */
export interface JsonDocument {
  /** Absent if too little could be parsed to validate the rest. */
  readonly root: Node | undefined;
  /** The document as plain data: of a repeated key the first value; `__proto__` is an ordinary key. Undefined without `root`. */
  readonly value: unknown;
  /** Syntax mistakes. With `root` there may still be some (trailing text, a comment, a repeated key). */
  readonly problems: readonly Problem[];
  /** Line and column of an offset, both from 1. */
  spot(offset: number): { line: number; column: number };
}

/** A parser that remembers positions takes about a microsecond for each value, several times as long as JSON.parse. */
const MOST_POSITIONS = 100_000;

/**
 * Parses JSON as in RFC 8259: no comments, no trailing commas, no repeated keys. A byte order mark is ignored. Timers and
 * signals are served between its steps.
 */
export async function parseStrictJson(source: string): Promise<JsonDocument> {
  const turn = new LoopTurn();
  const text = source.replace(/^\ufeff/, '');
  const spot = spots(text);
  if (text.trim() === '')
    return unparsed(problemAt([], 'an empty file', 'a JSON object', { line: 1, column: 1 }), spot);
  const excess = excessOf(text, MOST_POSITIONS);
  if (excess !== undefined) return unparsed(problemAt([], excess.found, excess.expected, spot(excess.offset)), spot);
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { disallowComments: true, allowTrailingComma: false });
  await turn.rest();
  const mistakes = syntaxMistakes(text, root, errors, spot);
  const parsed = mistakes.length === 0 ? parseWhole(text) : undefined;
  if (parsed?.problem !== undefined) return unparsed(parsed.problem, spot);
  await turn.rest();
  const problems = mistakes.map(mistake => mistake.problem);
  if (root !== undefined) problems.push(...badKeys(root, spot));
  await turn.rest();
  if (root === undefined || !mistakes.every(mistake => mistake.harmless))
    return { root: undefined, value: undefined, problems, spot };
  return { root, value: problems.length === 0 ? parsed?.value : plainValue(root), problems, spot };
}

/** A document of which nothing can be validated. */
function unparsed(problem: Problem, spot: JsonDocument['spot']): JsonDocument {
  return { root: undefined, value: undefined, problems: [problem], spot };
}

function plainValue(node: Node): unknown {
  if (node.type === 'array') return (node.children ?? []).map(plainValue);
  if (node.type !== 'object') return node.value;
  return Object.fromEntries(membersOf(node).map(member => [member.key, plainValue(member.node)]));
}

export interface Member {
  readonly key: string;
  readonly keyNode: Node;
  readonly node: Node;
}

/** Returns the members of an object in the order of the text, of a repeated key the first. Empty for other values. */
export function membersOf(node: Node | undefined): Member[] {
  return node?.type === 'object' ? [...memberMap(node).values()] : [];
}

/** Returns the members with the key of an earlier one, so that their other mistakes are reported as well. */
export function repeatedMembers(node: Node): Member[] {
  const seen = new Set<string>();
  return (node.type === 'object' ? (node.children ?? []) : []).flatMap(property => {
    const [keyNode, value] = property.children ?? [];
    if (!keyNode || !value || typeof keyNode.value !== 'string') return [];
    if (seen.has(keyNode.value)) return [{ key: keyNode.value, keyNode, node: value }];
    seen.add(keyNode.value);
    return [];
  });
}

export function memberOf(node: Node | undefined, key: string): Member | undefined {
  return node?.type === 'object' ? memberMap(node).get(key) : undefined;
}

const memberMaps = new WeakMap<Node, ReadonlyMap<string, Member>>();

function memberMap(node: Node): ReadonlyMap<string, Member> {
  const known = memberMaps.get(node);
  if (known !== undefined) return known;
  const members = new Map<string, Member>();
  for (const property of node.children ?? []) {
    const [keyNode, value] = property.children ?? [];
    if (keyNode && value && typeof keyNode.value === 'string' && !members.has(keyNode.value))
      members.set(keyNode.value, { key: keyNode.value, keyNode, node: value });
  }
  memberMaps.set(node, members);
  return members;
}

/** Returns the items of a list; empty for other values. */
export function itemsOf(node: Node | undefined): Node[] {
  return node?.type === 'array' ? (node.children ?? []) : [];
}

/** Returns the node at a path, or undefined. */
export function nodeAt(root: Node | undefined, path: Path): Node | undefined {
  let node = root;
  for (const part of path) node = typeof part === 'number' ? itemsOf(node)[part] : memberOf(node, part)?.node;
  return node;
}

/** Describes a value for a message: `"2.0.1"`, `the number 2.0`, `an empty list`. */
export function describeNode(node: Node, source: string): string {
  if (node.type === 'string') return quoted(String(node.value));
  if (node.type === 'number') return `the number ${textOf(node, source).slice(0, 40)}`;
  if (node.type === 'array') return itemsOf(node).length === 0 ? 'an empty list' : 'a list';
  if (node.type === 'object') return membersOf(node).length === 0 ? 'an empty object' : 'an object';
  return String(node.value);
}

/** Returns the source text of a node. */
export function textOf(node: Node, source: string): string {
  const start = node.offset + (source.startsWith('\ufeff') ? 1 : 0);
  return source.slice(start, start + node.length);
}

function problemAt(
  path: Path,
  found: string,
  expected: string,
  at: { line: number; column: number },
  hint?: string,
): Problem {
  return { place: formatPath(path), found, expected, ...at, ...(hint === undefined ? {} : { hint }) };
}

interface Mistake {
  readonly problem: Problem;
  /** The parsed tree is complete nevertheless, so that the rest can be validated. */
  readonly harmless: boolean;
}

/** At most one mistake per line: after the first one the parser's further errors on a line are mostly consequences. */
function syntaxMistakes(
  text: string,
  root: Node | undefined,
  errors: readonly ParseError[],
  spot: JsonDocument['spot'],
): Mistake[] {
  const mistakes = new Map<number, Mistake>();
  const unclosed = errors.some(error => /^Close/.test(printParseErrorCode(error.error)));
  const end = root === undefined || unclosed ? Number.POSITIVE_INFINITY : root.offset + root.length;
  for (const error of errors) {
    const at = spot(error.offset);
    const name = printParseErrorCode(error.error);
    if (error.offset >= end && name !== 'InvalidCommentToken') {
      if ([...mistakes.values()].some(mistake => !mistake.harmless)) break;
      const problem = problemAt([], quoted(text.slice(error.offset)), 'nothing after the end of the document', at);
      return [...mistakes.values(), { problem, harmless: true }];
    }
    if (mistakes.size === MOST_PROBLEMS) break;
    if (!mistakes.has(at.line)) mistakes.set(at.line, describeError(text, error, name, at));
  }
  return [...mistakes.values()];
}

const expectedByError: Readonly<Record<string, string>> = {
  PropertyNameExpected: 'a key in double quotes',
  ColonExpected: 'a colon after the key',
  CommaExpected: 'a comma',
  CloseBraceExpected: '}',
  CloseBracketExpected: ']',
  ValueExpected: 'a value',
  UnexpectedEndOfString: 'a closing double quote on the same line',
  UnexpectedEndOfNumber: 'a whole number',
  InvalidUnicode: '\\u and four hexadecimal digits',
  InvalidEscapeCharacter: 'an escape that JSON knows',
  InvalidCharacter: 'control characters written as \\u and four hexadecimal digits',
};

function describeError(text: string, error: ParseError, name: string, at: { line: number; column: number }): Mistake {
  const token = text.slice(error.offset, error.offset + Math.max(error.length, 1));
  const problem = (found: string, expected: string, hint?: string) => problemAt([], found, expected, at, hint);
  if (name === 'InvalidCommentToken')
    return { problem: problem('a comment', 'JSON without comments', 'Remove the comment.'), harmless: true };
  if (/^[}\]]/.test(token) && /,\s*$/.test(text.slice(Math.max(0, error.offset - 1000), error.offset)))
    return { problem: problem('a comma before the closing bracket', 'no comma after the last item'), harmless: true };
  const found = token === '' ? 'the end of the file' : quoted(token);
  return { problem: problem(found, expectedByError[name] ?? 'JSON'), harmless: false };
}

/** JSON.parse refuses some texts that the more lenient parser accepts. */
function parseWhole(text: string): { readonly value?: unknown; readonly problem?: Problem } {
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    const found = quoted(error instanceof Error ? error.message : String(error));
    return { problem: { place: '', found, expected: 'JSON' } };
  }
}

/** Repeated keys (other readers would silently drop all but one) and `__proto__`. */
function badKeys(root: Node, spot: JsonDocument['spot']): Problem[] {
  const problems: Problem[] = [];
  const visit = (node: Node, path: Path): void => {
    if (problems.length >= MOST_PROBLEMS) return;
    if (node.type === 'array')
      itemsOf(node).forEach((item, index) => {
        if (item.children !== undefined) visit(item, [...path, index]);
      });
    if (node.type !== 'object') return;
    const seen = new Map<string, Node[]>();
    for (const property of node.children ?? []) {
      const [keyNode, value] = property.children ?? [];
      if (!keyNode || typeof keyNode.value !== 'string') continue;
      const key = keyNode.value;
      const before = seen.get(key);
      if (before === undefined) seen.set(key, [keyNode]);
      else before.push(keyNode);
      if (value?.children !== undefined && key !== '__proto__') visit(value, [...path, key]);
    }
    for (const [key, [first, ...more]] of seen) {
      if (first === undefined) continue;
      if (key === '__proto__')
        problems.push(problemAt([...path, key], quoted(key), 'another key', spot(first.offset), 'Remove it.'));
      else if (more.length > 0) {
        const lines = [first, ...more.slice(0, 9)].map(each => spot(each.offset).line).join(', ');
        problems.push(
          problemAt(
            [...path, key],
            `the key ${quoted(key)} ${plural(more.length + 1, 'time')} (lines ${lines})`,
            'each key once',
            spot(more[0]?.offset ?? 0),
            'JSON readers keep one of them and silently drop the others. Merge them into one.',
          ),
        );
      }
    }
  };
  visit(root, []);
  return problems;
}

function spots(text: string): JsonDocument['spot'] {
  let starts: number[] | undefined;
  return offset => {
    if (starts === undefined) {
      starts = [0];
      for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
    }
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 };
  };
}
