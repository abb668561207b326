import type { z } from 'zod';
import { nearest } from '../../base/nearest.ts';
import { formatPlace, type Path, type Problem, quoted } from './problem.ts';
import { describeNode, type JsonDocument, memberOf, nodeAt, plainValue, textOf } from './strictJson.ts';

export interface SchemaProblemsOptions {
  /** The text that the document was parsed from. */
  readonly source: string;
  /** Keys that the object at a path may have. */
  readonly keysAt: (path: Path) => readonly string[] | undefined;
}

/** What a schema says of a document, as problems with their places. The schema's `error` texts are what was expected. */
export function schemaProblems(schema: z.ZodType, document: JsonDocument, options: SchemaProblemsOptions): Problem[] {
  const { root } = document;
  if (root === undefined) return [];
  const result = schema.safeParse(plainValue(root));
  return result.success ? [] : result.error.issues.flatMap(issue => problemsOf(issue, [], document, options));
}

type Issue = z.core.$ZodIssue;

function problemsOf(issue: Issue, above: Path, document: JsonDocument, options: SchemaProblemsOptions): Problem[] {
  const path = [...above, ...issue.path.map(part => (typeof part === 'symbol' ? String(part) : part))];
  if (issue.code === 'unrecognized_keys') return issue.keys.flatMap(key => unknownKey(key, path, document, options));
  if (issue.code === 'invalid_union') {
    // Of the branches whose own type fits, the one with the fewest mistakes was meant; the others would only confuse.
    const [meant] = issue.errors
      .filter(errors => errors.every(error => error.path.length > 0 || !isWrongType(error)))
      .sort((one, other) => one.length - other.length);
    if (meant !== undefined && meant.length > 0)
      return meant.flatMap(inner => problemsOf(inner, path, document, options));
  }
  return [problem(path, document, options, issue.message)];
}

function isWrongType(issue: Issue): boolean {
  return issue.code === 'invalid_type' || issue.code === 'invalid_value';
}

function problem(path: Path, document: JsonDocument, options: SchemaProblemsOptions, expected: string): Problem {
  const place = formatPlace(path);
  const node = nodeAt(document.root, path);
  if (node === undefined) {
    const parent = nodeAt(document.root, path.slice(0, -1));
    return { place, found: 'nothing', expected, ...(parent ? document.spot(parent.offset) : {}) };
  }
  const hint =
    node.type === 'number' && /double quotes|a version,/.test(expected)
      ? {
          hint: `Put it in double quotes, "${textOf(node, options.source).slice(0, 40)}": as a number 2.0 is 2, and 1.10 is 1.1.`,
        }
      : {};
  return { place, found: describeNode(node, options.source), expected, ...hint, ...document.spot(node.offset) };
}

function unknownKey(key: string, path: Path, document: JsonDocument, options: SchemaProblemsOptions): Problem[] {
  // Told already, wherever it stands.
  if (key === '__proto__') return [];
  const known = options.keysAt(path) ?? [];
  const near = nearest(key, known);
  const keyNode = memberOf(nodeAt(document.root, path), key)?.keyNode;
  return [
    {
      place: formatPlace([...path, key]),
      found: `the unknown key ${quoted(key)}`,
      expected: `one of ${known.join(', ')}`,
      ...(near === undefined ? {} : { hint: `Did you mean "${near}"?` }),
      ...(keyNode ? document.spot(keyNode.offset) : {}),
    },
  ];
}
