import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseChallenges } from '../../registry/builtin/http/challenges.ts';

const read = (header: string | string[] | undefined): unknown[] =>
  parseChallenges(header).map(({ scheme, token68, parameters }) => ({
    scheme,
    ...(token68 === undefined ? {} : { token68 }),
    ...Object.fromEntries(parameters),
  }));

test('a Bearer challenge keeps commas inside quotes', () => {
  assert.deepEqual(read('Bearer realm="https://a/t?x=1,2",service="s",scope="repository:a/b:pull,push"'), [
    { scheme: 'bearer', realm: 'https://a/t?x=1,2', service: 's', scope: 'repository:a/b:pull,push' },
  ]);
});

test('one header may hold several schemes, and there may be several headers', () => {
  assert.deepEqual(read('Negotiate, Basic realm="a, Bearer realm=x", Bearer realm="r" , scope=s'), [
    { scheme: 'negotiate' },
    { scheme: 'basic', realm: 'a, Bearer realm=x' },
    { scheme: 'bearer', realm: 'r', scope: 's' },
  ]);
  assert.deepEqual(read(['Basic realm="a"', 'Bearer realm="b"']), [
    { scheme: 'basic', realm: 'a' },
    { scheme: 'bearer', realm: 'b' },
  ]);
});

test('token68, escapes, white space around "=" and empty list members are read', () => {
  assert.deepEqual(read('Negotiate YWJj/+==, , Digest realm = "a\\"b" ,, nonce=x'), [
    { scheme: 'negotiate', token68: 'YWJj/+==' },
    { scheme: 'digest', realm: 'a"b', nonce: 'x' },
  ]);
});

test('an invalid part does not hide the next challenge', () => {
  assert.deepEqual(read('"oops", realm=lost, Bearer realm="r"').at(-1), { scheme: 'bearer', realm: 'r' });
  assert.deepEqual(read('Bearer realm="unclosed'), [{ scheme: 'bearer', realm: '' }]);
  assert.deepEqual(read(''), []);
  assert.deepEqual(read(undefined), []);
});

test('the first of two parameters with the same name counts', () => {
  assert.deepEqual(read('Bearer realm="a",realm="b"'), [{ scheme: 'bearer', realm: 'a' }]);
});

const token = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/);
const value = fc.string({ unit: fc.constantFrom(...'abcXYZ09 ,="\\:/?&;'), maxLength: 20 });
const challenge = fc.record({ scheme: token, parameters: fc.dictionary(token, value, { minKeys: 1, maxKeys: 4 }) });

test('every header that follows RFC 9110 is parsed back', () => {
  fc.assert(
    fc.property(fc.array(challenge, { minLength: 1, maxLength: 4 }), challenges => {
      const header = challenges
        .map(({ scheme, parameters }) => {
          const pairs = Object.entries(parameters).map(([name, text]) => `${name}="${text.replace(/["\\]/g, '\\$&')}"`);
          return `${scheme} ${pairs.join(', ')}`;
        })
        .join(', ');
      assert.deepEqual(
        parseChallenges(header).map(found => ({
          scheme: found.scheme,
          parameters: Object.fromEntries(found.parameters),
        })),
        challenges.map(({ scheme, parameters }) => ({ scheme, parameters: { ...parameters } })),
      );
    }),
  );
});

test('no text makes the parser throw or hang', () => {
  fc.assert(fc.property(fc.string({ maxLength: 500 }), text => Array.isArray(parseChallenges(text))));
  assert.ok(Array.isArray(parseChallenges('a="'.repeat(50_000))));
  assert.ok(Array.isArray(parseChallenges(`Bearer realm="${'\\'.repeat(100_001)}`)));
});
