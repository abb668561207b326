type Check = (value: unknown) => string | undefined;

/**
 * What is wrong with a value that is to be a catalog of schemaVersion 1: where, and what; undefined if nothing is. It says
 * what catalogSchema says, without zod, whose code takes 15 MiB of memory: the server reads catalogs and nothing else.
 */
export function catalogProblem(value: unknown): string | undefined {
  return catalog(value);
}

const text: Check = value => (typeof value === 'string' ? undefined : ': expected a string');
const size: Check = value =>
  Number.isSafeInteger(value) && Number(value) >= 0 ? undefined : ': expected a size in bytes';
const yesOrNo: Check = value => (typeof value === 'boolean' ? undefined : ': expected true or false');
const sha256: Check = value =>
  typeof value === 'string' && /^[0-9a-f]{64}$/.test(value) ? undefined : ': expected a sha256 in lower-case hex';
const one: Check = value => (value === 1 ? undefined : ': expected 1');

function optional(check: Check): Check {
  return value => (value === undefined ? undefined : check(value));
}

function list(check: Check): Check {
  return value => {
    if (!Array.isArray(value)) return ': expected a list';
    for (const [at, item] of value.entries()) {
      const problem = check(item);
      if (problem !== undefined) return below(String(at), problem);
    }
    return undefined;
  };
}

function object(parts: Readonly<Record<string, Check>>): Check {
  const checks = Object.entries(parts);
  return value => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return ': expected an object';
    for (const [key, check] of checks) {
      const problem = check(Reflect.get(value, key));
      if (problem !== undefined) return below(key, problem);
    }
    return undefined;
  };
}

function below(key: string, problem: string): string {
  return problem.startsWith(':') ? key + problem : `${key}.${problem}`;
}

const version = object({
  version: text,
  aliasOf: optional(text),
  path: text,
  reference: text,
  digest: text,
  pinned: yesOrNo,
  sha256,
  sizeBytes: size,
  abi: value => (value === null ? undefined : text(value)),
  created: optional(text),
  files: list(object({ name: text, sizeBytes: size, sha256 })),
});

const catalog = object({
  schemaVersion: one,
  tree: text,
  plugins: list(object({ name: text, versions: list(version) })),
});
