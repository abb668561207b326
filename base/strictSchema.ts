import * as v from 'valibot';
import { isRecord } from './shape.ts';

/**
 * Objects, records and unions for JSON, on top of valibot. Its own are too lenient for a file that a person edits: objects
 * and records accept arrays, a record skips keys such as "constructor", an object reports only the first unknown key, and a
 * union reports the mistakes of all its members. The results keep valibot's types, so that a JSON Schema can be emitted.
 * They validate and do not copy: the output is the input itself.
 */

type Run = v.GenericSchema['~run'];

/** An object with these keys and no others. A missing key is reported with the message of that key's own schema. */
export function strictObject<const T extends v.ObjectEntries>(
  entries: T,
  message: string,
): v.StrictObjectSchema<T, string> {
  const schema = v.strictObject(entries, message);
  const run: Run = ({ value }, config) => {
    if (!isRecord(value)) return resultOf(value, [issueOf(schema, value, message)]);
    const issues = entryIssues(entries, value, config);
    for (const key of Object.keys(value))
      if (!Object.hasOwn(entries, key) && issues.length < MOST_ISSUES)
        issues.push({ ...issueOf(schema, key, message), expected: UNKNOWN_KEY, path: [pathItem(value, key)] });
    return resultOf(value, issues);
  };
  return Object.assign(schema, { '~run': run });
}

/** An object with these keys; other keys are accepted and kept. */
export function looseObject<const T extends v.ObjectEntries>(entries: T): v.LooseObjectSchema<T, undefined> {
  const schema = v.looseObject(entries);
  const run: Run = ({ value }, config) =>
    resultOf(value, isRecord(value) ? entryIssues(entries, value, config) : [issueOf(schema, value, 'not an object')]);
  return Object.assign(schema, { '~run': run });
}

/** True if the last part of the issue's path is a key that a strictObject does not have. */
export function isUnknownKey(issue: v.BaseIssue<unknown>): boolean {
  return issue.type === 'strict_object' && issue.expected === UNKNOWN_KEY;
}

/** An object with any keys, whose values match `value`. The key's schema is for editors: no key is refused for it. */
export function record<const K extends v.GenericSchema<string, string>, const V extends v.GenericSchema>(
  key: K,
  value: V,
  message: string,
): v.RecordSchema<K, V, string> {
  const schema = v.record(key, value, message);
  const run: Run = ({ value: members }, config) => {
    if (!isRecord(members)) return resultOf(members, [issueOf(schema, members, message)]);
    const issues: Issue[] = [];
    for (const each of Object.keys(members)) {
      runMember(value, members, each, config, issues);
      if (issues.length >= (config.abortEarly ? 1 : MOST_ISSUES)) break;
    }
    return resultOf(members, issues);
  };
  return Object.assign(schema, { '~run': run });
}

/**
 * One of several schemas. A value that matches none is reported with the mistakes of the member that was most probably meant:
 * of those whose JSON type it has, the one with the fewest mistakes; if it has no member's type, with `message` alone.
 */
export function oneOf<const T extends v.UnionOptions>(options: T, message: string): v.UnionSchema<T, string> {
  const schema = v.union(options, message);
  const run: Run = (dataset, config) => {
    let meant: v.OutputDataset<unknown, Issue> | undefined;
    for (const option of options) {
      const result = option['~run']({ typed: false, value: dataset.value }, config);
      if (result.issues === undefined) return result;
      const hasType = result.issues.every(({ kind, path }) => kind === 'validation' || path !== undefined);
      if (hasType && result.issues.length < (meant?.issues?.length ?? Number.POSITIVE_INFINITY)) meant = result;
    }
    return meant ?? resultOf(dataset.value, [issueOf(schema, dataset.value, message)]);
  };
  return Object.assign(schema, { '~run': run });
}

/** More are not reported, and a document may have hundreds of thousands. */
const MOST_ISSUES = 1000;

type Issue = v.BaseIssue<unknown>;
type Config = v.Config<Issue>;

const UNKNOWN_KEY = 'never';

function entryIssues(entries: v.ObjectEntries, value: Record<string, unknown>, config: Config): Issue[] {
  const issues: Issue[] = [];
  for (const [key, entry] of Object.entries(entries)) {
    if (entry.type === 'exact_optional' && !Object.hasOwn(value, key)) continue;
    runMember(entry, value, key, config, issues);
    if (config.abortEarly && issues.length > 0) break;
  }
  return issues;
}

function pathItem(input: Record<string, unknown>, key: string): v.ObjectPathItem {
  return { type: 'object', origin: 'value', input, key, value: input[key] };
}

function runMember(
  schema: v.GenericSchema,
  input: Record<string, unknown>,
  key: string,
  config: Config,
  issues: Issue[],
): void {
  const value = Object.hasOwn(input, key) ? input[key] : undefined;
  const result = schema['~run']({ typed: false, value }, config);
  for (const issue of result.issues ?? [])
    issues.push({ ...issue, path: [pathItem(input, key), ...(issue.path ?? [])] });
}

function issueOf({ type, expects }: v.GenericSchema, input: unknown, message: string): Issue {
  return { kind: 'schema', type, input, expected: expects, received: typeof input, message };
}

function resultOf(value: unknown, [first, ...more]: readonly Issue[]): v.OutputDataset<unknown, Issue> {
  return first === undefined ? { typed: true, value } : { typed: false, value, issues: [first, ...more] };
}
