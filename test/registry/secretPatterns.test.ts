import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readErrorBody, secretPatterns } from '../../registry/builtin/faults/errorBody.ts';
import { times } from '../support/slow.ts';

const unicode = (text: string, which: RegExp, digits: (hex: string) => string): string =>
  text.replace(which, unit => `\\u${digits(unit.charCodeAt(0).toString(16).padStart(4, '0'))}`);
const json = (text: string): string => JSON.stringify(text).slice(1, -1);
const xml = (text: string, quote: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", quote);

const FORMS: Readonly<Record<string, (text: string) => string>> = {
  itself: text => text,
  JSON: json,
  'JSON within JSON': text => json(json(text)),
  'JSON as Go writes it': text => unicode(json(text), /[<>&\u2028\u2029]/g, hex => hex),
  'JSON of ASCII': text => unicode(json(text), /[^ -~]/g, hex => hex.toUpperCase()),
  'JSON with slashes escaped': text => json(text).replaceAll('/', '\\/'),
  'XML with &#39;': text => xml(text, '&#39;'),
  'XML with &apos;': text => xml(text, '&apos;'),
  'XML with numbers': text => text.replace(/[^\w]/gu, letter => `&#x${letter.codePointAt(0)?.toString(16)};`),
  'XML twice': text => xml(xml(text, '&apos;'), '&apos;'),
  'a URL': encodeURIComponent,
  'a form': text => new URLSearchParams({ '': text }).toString().slice(1),
  'UTF-8 read as Latin-1': text => Buffer.from(text).toString('latin1'),
};

const masked = (text: string, secret: string): string =>
  secretPatterns(secret).reduce((rest, pattern) => rest.replace(pattern, '***'), text);

const secrets = fc.string({
  unit: fc.oneof(fc.constantFrom(...`"\\/&<>'%+= \t?.*$^()[]{}|-:@ü€😀`), fc.stringMatching(/^[a-zA-Z0-9]$/)),
  minLength: 4,
  maxLength: 20,
});

for (const [name, write] of Object.entries(FORMS))
  test(`a secret is found in the form of ${name}`, () => {
    fc.assert(
      fc.property(secrets, secret => {
        assert.equal(masked(`»${write(secret)}«`, secret), '»***«');
      }),
      { numRuns: times(100, 500) },
    );
  });

test('other text is unchanged', () => {
  for (const text of ['axb/c', 'a.b', 'a b c', 'a%2fb.c']) assert.equal(masked(text, 'a.b/c'), text);
});

test('a token of any length is found, whole or in part', () => {
  const long = fc.string({ unit: fc.constantFrom(...'+/=aB1.'), minLength: 60, maxLength: 9000 });
  fc.assert(
    fc.property(long, secret => {
      assert.match(masked(`»${encodeURIComponent(secret)}«`, secret), /^»(?:\*\*\*)+«$/);
      if (secret.length > 128) assert.match(masked(`»${json(secret.slice(0, 64))}«`, secret), /^»\*+«$/);
    }),
    { numRuns: times(10, 30) },
  );
});

test('the title of a page and the text of every kind of reply are shown without the sent secrets', () => {
  const password = 'pl"anted\\<&';
  const authorization = `Basic ${Buffer.from(`me:${password}`).toString('base64')}`;
  const request = { method: 'GET', url: new URL('https://h/v2/'), headers: { authorization } } as const;
  const words = (body: string, type: string): string =>
    JSON.stringify(readErrorBody(Buffer.from(body), type, { request, proxy: undefined }));
  for (const [body, type] of [
    [`<html><title>no ${xml(password, "'")}</title>`, 'text/html'],
    [JSON.stringify({ errors: [{ code: password, message: `no ${password}` }] }), 'application/json'],
    [JSON.stringify({ error: `no ${password}` }), 'application/json'],
    [`{"error": "no ${json(password)}`, 'application/json'],
    [`no ${password}`, 'text/plain'],
  ] as const) {
    const told = words(body, type);
    assert.doesNotMatch(told, /anted|pl"/, body);
    assert.match(told, /\*\*\*/);
  }
});
