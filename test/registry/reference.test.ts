import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatReference,
  hostHint,
  isDigest,
  isRegistry,
  isRepository,
  isTag,
  parseReference,
  type Reference,
  ReferenceInvalid,
} from '../../registry/reference.ts';
import { times } from '../support/slow.ts';

const label = fc.stringMatching(/^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?$/);
const host = fc.oneof(
  // A last label of digits makes the host an address.
  fc.array(label, { minLength: 1, maxLength: 4 }).map(labels => [...labels, 'example'].join('.')),
  fc.ipV4(),
  fc.ipV6().map(address => `[${address}]`),
);
const port = fc.integer({ min: 1, max: 65_535 });
const registry = fc.tuple(host, fc.option(port)).map(([name, at]) => (at === null ? name : `${name}:${at}`));
const part = fc.stringMatching(/^[a-z0-9]{1,6}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}$/);
const repository = fc.array(part, { minLength: 1, maxLength: 5 }).map(parts => parts.join('/'));
const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/);
const digest = fc.oneof(
  fc.stringMatching(/^[0-9a-f]{64}$/).map(hex => `sha256:${hex}` as const),
  fc.stringMatching(/^[0-9a-f]{128}$/).map(hex => `sha512:${hex}` as const),
);
const reference: fc.Arbitrary<Reference> = fc.oneof(
  fc.record({ registry, repository, tag }),
  fc.record({ registry, repository, digest }),
  fc.record({ registry, repository, tag, digest }),
);

test('every reference is parsed as it was written, with oci:// and without', () => {
  fc.assert(
    fc.property(reference, fc.constantFrom('', 'oci://'), (wanted, scheme) => {
      assert.deepEqual(parseReference(`${scheme}${formatReference(wanted)}`), { ...wanted });
    }),
  );
});

test('any other text is refused, and an accepted one has a single meaning', () => {
  const near = fc
    .tuple(reference, fc.nat(), fc.constantFrom(...'/:@. \n\0%?#\\ABé', '..', '//', '@sha256:', 'https://'))
    .map(([wanted, at, odd]) => {
      const text = formatReference(wanted);
      const place = at % (text.length + 1);
      return `${text.slice(0, place)}${odd}${text.slice(place)}`;
    });
  fc.assert(
    fc.property(fc.oneof(near, fc.string({ unit: 'binary' }), fc.webUrl()), text => {
      let found: Reference;
      try {
        found = parseReference(text);
      } catch (error) {
        assert.ok(error instanceof ReferenceInvalid);
        assert.doesNotMatch(error.message, /[\u0000-\u001f\u007f]/, 'control characters reach no terminal');
        return;
      }
      assert.equal(formatReference(found), text.replace(/^oci:\/\//, ''));
      assert.ok(isRegistry(found.registry) && isRepository(found.repository));
      assert.ok(found.tag === undefined || isTag(found.tag));
      assert.ok(found.digest === undefined || isDigest(found.digest));
      // The parts make a URL path with exactly these segments.
      const url = new URL(`https://${found.registry}/v2/${found.repository}/manifests/${found.tag ?? found.digest}`);
      assert.equal(url.pathname, `/v2/${found.repository}/manifests/${found.tag ?? found.digest}`);
    }),
    { numRuns: times(150, 500) },
  );
});

test('text that only looks like an address is not a host', () => {
  for (const text of ['[.::0]', '[1:2]', '[]', '1.2.3.999', '1.2.3.4.5', 'xn--a-.example'])
    assert.ok(!isRegistry(text), text);
  for (const text of ['[::1]:5000', '127.0.0.1', 'localhost:5000', 'registry', 'a-b.example:443'])
    assert.ok(isRegistry(text), text);
});

test('the hint of a host names its underscore, the dot at its end or its port', () => {
  for (const [host, words] of [
    ['oci.example.com.', /write oci\.example\.com\.$/],
    ['oci.example.com.:443', /write oci\.example\.com:443\.$/],
    ['127.0.0.1:70000', /1 to 65535/],
    ['a:0', /1 to 65535/],
    ['a:', /1 to 65535/],
  ] as const)
    assert.match(hostHint(host) ?? '', words, host);

  for (const host of ['local_registry:5000', 'my_host.example', 'x_a.b'])
    assert.match(hostHint(host) ?? '', /underscore/);
  for (const host of ['local-registry:5000', 'a_b/c', '', '_']) assert.equal(hostHint(host), undefined, host);
  assert.throws(
    () => parseReference('local_registry:5000/p/a:1'),
    (error: unknown) => {
      assert.match((error as ReferenceInvalid).hint, /local-registry:5000/);
      return true;
    },
  );
});

test('long text is not slow', () => {
  for (const text of [
    'a'.repeat(200_000),
    `${'a.'.repeat(100_000)}/b:1`,
    `h/${'a-'.repeat(100_000)}:1`,
    `h/a:${'1'.repeat(200_000)}`,
  ])
    assert.throws(() => parseReference(text), ReferenceInvalid);
});

test('an error shows neither user info nor query, but everything else', () => {
  const refusal = (text: string): ReferenceInvalid => {
    try {
      parseReference(text);
    } catch (error) {
      if (error instanceof ReferenceInvalid) return error;
    }
    throw new Error(`${text} was taken`);
  };
  const shown = (text: string): string => JSON.stringify([refusal(text).message, { ...refusal(text) }]);
  for (const text of [
    'https://me:PLANTED@h.example/x:1',
    'me:PLANTED@h.example/x:1',
    'me:a/PLANTED@h.example/x:1',
    'me:a@PLANTED@h.example/x:1',
    'PLANTED@h.example/x:1',
    'oci://me:PLANTED@h.example/x@sha256:00',
    'h.example/x:1?token=PLANTED',
  ])
    assert.doesNotMatch(shown(text), /PLANTED/, text);
  assert.match(shown('https://me:PLANTED@h.example/x:1'), /h\.example\/x:1/);
  for (const text of ['h.example/x@latest', 'h.example:5000/x:1@latest', 'h.example/x:1@sha256:00', 'h.example/X:1'])
    assert.ok(refusal(text).message.includes(`"${text}"`), text);
});

test('a name of megabytes is no name, and overflows no stack', () => {
  for (const piece of ['a-', 'a.', 'a/', 'a__', 'a']) {
    const text = piece.repeat(4_000_000 / piece.length);
    assert.equal(isRepository(`${text}a`), false);
    assert.equal(isRegistry(`${text}a`), false);
    assert.throws(() => parseReference(`h.example/${text}a:1`), ReferenceInvalid);
  }
});
