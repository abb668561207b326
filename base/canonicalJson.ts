/** JSON with sorted keys and without white space: the same value gives the same text, however it was put together. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(sortKeys(value));
}

/** As canonicalJson, for people: two spaces of indent, a final newline. */
export function readableJson(value: unknown): string {
  return `${JSON.stringify(sortKeys(value), null, 2)}\n`;
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, member]) => [key, sortKeys(member)] as const);
  // fromEntries defines keys and so keeps even a "__proto__" that came out of an image's annotations.
  return Object.fromEntries(entries.sort(([a], [b]) => compareText(a, b)));
}

/** By UTF-16 code units: the same on every machine, whatever its locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
