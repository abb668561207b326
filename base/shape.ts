/**
 * Says what is wrong with a value that came out of JSON: the place and what was expected there ("files.0.sha256: expected a
 * sha256 in lower-case hex"), undefined if nothing is. A place that begins with a colon is the value itself.
 *
 * The files of a tree are written by this program and read in every run; these checks take no part of the time that the
 * schema library's code takes to load, and none of its 15 MiB. What a person writes has a schema, and words for its mistakes.
 */
export type Check = (value: unknown) => string | undefined;

/** Any text. */
export const text: Check = value => (typeof value === 'string' ? undefined : ': expected a string');

/** A whole number of bytes, 0 or more, that a double holds exactly. */
export const size: Check = value =>
  Number.isSafeInteger(value) && Number(value) >= 0 ? undefined : ': expected a size in bytes';

/** True or false. */
export const yesOrNo: Check = value => (typeof value === 'boolean' ? undefined : ': expected true or false');

/** A text that fits the pattern; `what` says what that is. */
export function fitting(pattern: RegExp, what: string): Check {
  return value => (typeof value === 'string' && pattern.test(value) ? undefined : `: expected ${what}`);
}

/** A bare sha256: 64 digits of lower-case hex. */
export const sha256: Check = fitting(/^[0-9a-f]{64}$/, 'a sha256 in lower-case hex');

/** This value and no other. */
export function only(expected: string | number | boolean | null): Check {
  return value => (value === expected ? undefined : `: expected ${expected}`);
}

/** Undefined, which is what an absent key has, or what the check takes. */
export function optional(check: Check): Check {
  return value => (value === undefined ? undefined : check(value));
}

/** Null or what the check takes. */
export function nullable(check: Check): Check {
  return value => (value === null ? undefined : check(value));
}

/** What one of the checks takes; what the last one says, if none does. */
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

/** A list of at least so many items. */
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

/** An object with any keys, each of whose values the check takes. */
export function record(check: Check): Check {
  return value => {
    if (!isObject(value)) return ': expected an object';
    for (const key of Object.keys(value)) {
      const problem = check(Reflect.get(value, key));
      if (problem !== undefined) return below(key, problem);
    }
    return undefined;
  };
}

/** An object with these keys. Others pass, as a later version of this program may have written them. */
export function object(parts: Readonly<Record<string, Check>>): Check {
  const checks = Object.entries(parts);
  return value => {
    if (!isObject(value)) return ': expected an object';
    for (const [key, check] of checks) {
      const problem = check(Reflect.get(value, key));
      if (problem !== undefined) return below(key, problem);
    }
    return undefined;
  };
}

/** An object with these keys and no others. */
export function exactObject(parts: Readonly<Record<string, Check>>): Check {
  const known = object(parts);
  return value => {
    const problem = known(value);
    if (problem !== undefined || !isObject(value)) return problem;
    const other = Object.keys(value).find(key => !Object.hasOwn(parts, key));
    return other === undefined ? undefined : below(other, ': expected no such key');
  };
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function below(key: string, problem: string): string {
  return problem.startsWith(':') ? key + problem : `${key}.${problem}`;
}
