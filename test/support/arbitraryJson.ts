import fc from 'fast-check';

/** Every place in a value, itself included. */
export function places(value: unknown, path: readonly (string | number)[] = []): (readonly (string | number)[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  const keys = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
  return [path, ...keys.flatMap(key => places(Reflect.get(value, key), [...path, key]))];
}

/** A copy of a value with something else in one place. */
export function changed(value: unknown, [key, ...rest]: readonly (string | number)[], by: unknown): unknown {
  if (key === undefined) return by;
  const copy: object = Array.isArray(value) ? [...value] : { ...Object(value) };
  Reflect.set(copy, key, changed(Reflect.get(copy, key), rest, by));
  return copy;
}

/** Values that seldom belong where they are put: near misses of JSON's types, those given, and anything at all. */
export function arbitraryJson(...given: readonly unknown[]): fc.Arbitrary<unknown> {
  const near = [undefined, null, '', 0, -1, 1, 1.5, 2 ** 53, Number.NaN, true, false, [], {}, [''], { '': '' }];
  return fc.oneof(fc.constantFrom<unknown>(...near, ...given), fc.anything());
}
