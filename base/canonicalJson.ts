/** JSON with sorted keys and without white space: equal values give equal texts, whatever the order of their keys. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(sortKeys(value));
}

/** As canonicalJson, but readable: indented by two spaces, with a final newline. */
export function readableJson(value: unknown): string {
  return `${JSON.stringify(sortKeys(value), null, 2)}\n`;
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, member]) => [key, sortKeys(member)] as const);
  // fromEntries defines own properties, so it keeps a "__proto__" key from an image's annotations.
  return Object.fromEntries(entries.sort(([a], [b]) => compareText(a, b)));
}

/** Compares by UTF-16 code units, so that the order is the same in every locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
