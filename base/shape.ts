/**
 * Returns the problem of a value that was parsed from JSON, path first ("files.0.sha256: expected a sha256 in lower-case
 * hex"), or undefined. A problem that begins with a colon is about the value itself.
 *
 * These checks are for files that this program writes and reads in every run: they load no schema library, and a catalog of
 * 5,000 versions takes half the time of the same schema in valibot. Files that people write have a schema, which reports all
 * mistakes.
 */
export type Check = (value: unknown) => string | undefined;

/** Accepts any text. */
export const text: Check = value => (typeof value === 'string' ? undefined : ': expected a string');

/** Accepts a size in bytes: a safe integer, 0 or more. */
export const size: Check = value =>
  Number.isSafeInteger(value) && Number(value) >= 0 ? undefined : ': expected a size in bytes';

/** Accepts true and false. */
export const yesOrNo: Check = value => (typeof value === 'boolean' ? undefined : ': expected true or false');

/** Accepts a text that matches the pattern; `what` names it in the problem. */
export function fitting(pattern: RegExp, what: string): Check {
  return value => (typeof value === 'string' && pattern.test(value) ? undefined : `: expected ${what}`);
}

/** Accepts a sha256 as 64 digits of lower-case hex. */
export const sha256: Check = fitting(/^[0-9a-f]{64}$/, 'a sha256 in lower-case hex');

/** Accepts this value only. */
export function only(expected: string | number | boolean | null): Check {
  return value => (value === expected ? undefined : `: expected ${expected}`);
}

/** Accepts undefined (an absent key), and what the check accepts. */
export function optional(check: Check): Check {
  return value => (value === undefined ? undefined : check(value));
}

/** Accepts null, and what the check accepts. */
export function nullable(check: Check): Check {
  return value => (value === null ? undefined : check(value));
}

/** Accepts what one of the checks accepts; otherwise returns the problem of the last one. */
export function either(...checks: readonly Check[]): Check {
  return value => {
    let problem: string | undefined;
    for (const check of checks) {
      problem = check(value);
      if (problem === undefined) return undefined;
    }
    return problem;
  };
}

/** Accepts a list of at least `minItems` items that the check accepts. */
export function list(check: Check, minItems = 0): Check {
  return value => {
    if (!Array.isArray(value)) return ': expected a list';
    if (value.length < minItems) return `: expected a list of at least ${minItems}`;
    for (const [at, item] of value.entries()) {
      const problem = check(item);
      if (problem !== undefined) return below(String(at), problem);
    }
    return undefined;
  };
}

/** Accepts an object with any keys whose values the check accepts. */
export function record(check: Check): Check {
  return value => {
    if (!isRecord(value)) return ': expected an object';
    for (const key of Object.keys(value)) {
      const problem = check(Reflect.get(value, key));
      if (problem !== undefined) return below(key, problem);
    }
    return undefined;
  };
}

/** Accepts an object with these keys, and further ones, which a later version of this program may have written. */
export function object(parts: Readonly<Record<string, Check>>): Check {
  const checks = Object.entries(parts);
  return value => {
    if (!isRecord(value)) return ': expected an object';
    for (const [key, check] of checks) {
      const problem = check(Reflect.get(value, key));
      if (problem !== undefined) return below(key, problem);
    }
    return undefined;
  };
}

/** Returns true for a JSON object: neither null nor a list. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function below(key: string, problem: string): string {
  return problem.startsWith(':') ? key + problem : `${key}.${problem}`;
}
