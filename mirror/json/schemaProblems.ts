import * as v from 'valibot';
import { nearest } from '../../base/nearest.ts';
import { isUnknownKey } from '../../base/strictSchema.ts';
import { formatPath, MOST_PROBLEMS, type Path, type Problem, quoted } from './problem.ts';
import { describeNode, type JsonDocument, memberOf, nodeAt, textOf } from './strictJson.ts';

export interface SchemaProblemsOptions {
  /** The text that the document was parsed from. */
  readonly source: string;
  /** Keys that the object at a path may have. */
  readonly keysAt: (path: Path) => readonly string[] | undefined;
}

/** Returns every mistake that the schema finds in a document, with its line and column. The schema's messages are `expected`. */
export function schemaProblems(
  schema: v.GenericSchema,
  document: JsonDocument,
  options: SchemaProblemsOptions,
): Problem[] {
  if (document.root === undefined) return [];
  return (v.safeParse(schema, document.value).issues ?? []).slice(0, MOST_PROBLEMS).flatMap(issue => {
    const path = (issue.path ?? []).map(({ key }) => (typeof key === 'number' ? key : String(key)));
    return isUnknownKey(issue) ? unknownKey(path, document, options) : problem(path, document, options, issue.message);
  });
}

function problem(path: Path, document: JsonDocument, options: SchemaProblemsOptions, expected: string): Problem {
  const place = formatPath(path);
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

function unknownKey(path: Path, document: JsonDocument, options: SchemaProblemsOptions): Problem[] {
  const key = String(path.at(-1));
  // parseStrictJson has reported it.
  if (key === '__proto__') return [];
  const parent = path.slice(0, -1);
  const known = options.keysAt(parent) ?? [];
  const near = nearest(key, known);
  const keyNode = memberOf(nodeAt(document.root, parent), key)?.keyNode;
  return [
    {
      place: formatPath(path),
      found: `the unknown key ${quoted(key)}`,
      expected: `one of ${known.join(', ')}`,
      ...(near === undefined ? {} : { hint: `Did you mean "${near}"?` }),
      ...(keyNode ? document.spot(keyNode.offset) : {}),
    },
  ];
}
