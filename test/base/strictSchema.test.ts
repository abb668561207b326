import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import * as v from 'valibot';
import { isUnknownKey, looseObject, oneOf, record, strictObject } from '../../base/strictSchema.ts';
import { times } from '../support/slow.ts';

const text = v.pipe(v.string('text'), v.nonEmpty('some text'));
const person = strictObject({ name: text, age: v.exactOptional(v.number('a number')) }, 'a person');

/** `path: message` of every issue. */
function issuesOf(schema: v.GenericSchema, value: unknown): string[] {
  return (v.safeParse(schema, value).issues ?? []).map(({ path = [], message }) => {
    const place = path.map(({ key }) => String(key)).join('.');
    return `${place}: ${message}`;
  });
}

describe('strictObject', () => {
  it('accepts its keys, the optional ones absent or present', () => {
    assert.deepEqual(issuesOf(person, { name: 'a' }), []);
    assert.deepEqual(issuesOf(person, { name: 'a', age: 1 }), []);
  });
  it('refuses what is not an object, a list included', () => {
    for (const value of [null, undefined, 'a', 1, true, [], [{ name: 'a' }]])
      assert.deepEqual(issuesOf(person, value), [': a person']);
  });
  it('reports every mistake, a missing key with the message of its own schema', () => {
    assert.deepEqual(issuesOf(person, { age: '1' }), ['name: text', 'age: a number']);
    assert.deepEqual(issuesOf(person, { name: '' }), ['name: some text']);
    assert.deepEqual(issuesOf(strictObject({ inner: person }, 'an object'), { inner: { name: 1 } }), [
      'inner.name: text',
    ]);
  });
  it('reports every unknown key, those that JavaScript objects have and __proto__ included', () => {
    const value = JSON.parse('{"name":"a","x":1,"toString":1,"constructor":1,"__proto__":1}');
    const { issues = [] } = v.safeParse(person, value);
    assert.deepEqual(
      issues.map(issue => issue.path?.at(-1)?.key),
      ['x', 'toString', 'constructor', '__proto__'],
    );
    assert.ok(issues.every(isUnknownKey));
    assert.ok(!isUnknownKey(v.safeParse(person, {}).issues?.[0] ?? assert.fail()));
  });
  it('does not take an inherited value for a key', () => {
    assert.deepEqual(issuesOf(strictObject({ constructor: v.function('a function') }, 'it'), {}), [
      'constructor: a function',
    ]);
  });
});

describe('looseObject', () => {
  it('accepts unknown keys and refuses everything else that strictObject refuses', () => {
    const schema = looseObject({ name: text });
    assert.deepEqual(issuesOf(schema, { name: 'a', x: 1 }), []);
    assert.deepEqual(issuesOf(schema, { x: 1 }), ['name: text']);
    assert.deepEqual(issuesOf(schema, []), [': not an object']);
  });
});

describe('record', () => {
  const ages = record(v.string(), v.number('a number'), 'ages');
  it('validates every value, whatever its key', () => {
    assert.deepEqual(issuesOf(ages, { a: 1, constructor: 2 }), []);
    const value = JSON.parse('{"a":"1","constructor":"1","prototype":"1","__proto__":"1"}');
    assert.deepEqual(issuesOf(ages, value), [
      'a: a number',
      'constructor: a number',
      'prototype: a number',
      '__proto__: a number',
    ]);
  });
  it('refuses what is not an object, a list included', () => {
    for (const value of [null, 'a', 1, [], [1]]) assert.deepEqual(issuesOf(ages, value), [': ages']);
  });
});

describe('oneOf', () => {
  const few = v.pipe(v.array(text, 'a list'), v.nonEmpty('a longer list'));
  const schema = oneOf([text, few, person, strictObject({ file: text, a: text, b: text }, 'a file')], 'one of them');
  it('accepts what one of its members accepts', () => {
    for (const value of ['a', ['a'], { name: 'a' }, { file: 'f', a: 'a', b: 'b' }])
      assert.deepEqual(issuesOf(schema, value), []);
  });
  it('reports the mistakes of the member with the value’s type, of several the one with the fewest', () => {
    assert.deepEqual(issuesOf(schema, ''), [': some text']);
    assert.deepEqual(issuesOf(schema, []), [': a longer list']);
    assert.deepEqual(issuesOf(schema, ['a', 1]), ['1: text']);
    assert.deepEqual(issuesOf(schema, {}), ['name: text']);
    assert.deepEqual(issuesOf(schema, { file: 'f', a: 'a' }), ['b: text']);
  });
  it('reports its own message for a value of no member’s type', () => {
    for (const value of [1, null, true]) assert.deepEqual(issuesOf(schema, value), [': one of them']);
  });
});

it('a check that stops at the first mistake agrees with one that reports all', () => {
  const schema = record(v.string(), oneOf([person, v.array(text)], 'neither'), 'not a record');
  const leaf = fc.oneof(fc.constantFrom('', 'a', 1, null, [], ['a'], ['']), fc.anything());
  const value = fc.dictionary(
    fc.constantFrom('a', 'constructor', '__proto__'),
    fc.oneof(leaf, fc.record({ name: leaf, age: leaf, toString: leaf }, { requiredKeys: [] })),
  );
  fc.assert(
    fc.property(fc.oneof(value, leaf), each => assert.equal(v.is(schema, each), v.safeParse(schema, each).success)),
    { numRuns: times(500, 2000) },
  );
});
