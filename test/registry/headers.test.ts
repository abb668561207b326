import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { continuesBlob, parseContentRange } from '../../registry/builtin/answers/blob.ts';
import { readErrorBody } from '../../registry/builtin/faults/errorBody.ts';
import { parseNextLink, parseRetryAfter, parseWarnings } from '../../registry/builtin/http/headers.ts';
import { redactUrl } from '../../registry/hosts/hosts.ts';
import { times } from '../support/slow.ts';

const NOW_MS = Date.parse('Sun, 06 Nov 1994 08:49:37 GMT');

test('Retry-After in seconds', () => {
  assert.equal(parseRetryAfter('3', undefined, NOW_MS), 3000);
  assert.equal(parseRetryAfter(' 0 ', undefined, NOW_MS), 0);
  assert.equal(parseRetryAfter('9'.repeat(40), undefined, NOW_MS), Number.MAX_SAFE_INTEGER);
});

test('Retry-After in all three date forms', () => {
  for (const text of ['Sun, 06 Nov 1994 08:49:47 GMT', 'Sunday, 06-Nov-94 08:49:47 GMT', 'Sun Nov  6 08:49:47 1994'])
    assert.equal(parseRetryAfter(text, undefined, NOW_MS), 10_000, text);
});

test("a Retry-After date counts from the server's own clock", () => {
  const inTenSeconds = 'Sun, 06 Nov 1994 08:49:47 GMT';
  assert.equal(parseRetryAfter(inTenSeconds, 'Sun, 06 Nov 1994 08:49:37 GMT', NOW_MS + 86_400_000), 10_000);
});

test('an unusable Retry-After is ignored', () => {
  for (const text of ['-5', '1.5', 'soon', '', '5 apples', 'Sun, 06 Nov 1994 08:49:00 GMT', 'NaN', '1e3', '0x10'])
    assert.equal(parseRetryAfter(text, undefined, NOW_MS), undefined, text);
});

test('a Content-Range is parsed back as it was written', () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(), fc.option(fc.nat()), (first, more, rest) => {
      const last = first + more;
      const size = rest === null ? '*' : last + 1 + rest;
      assert.deepEqual(parseContentRange(`bytes ${first}-${last}/${size}`), {
        first,
        last,
        sizeBytes: rest === null ? undefined : size,
      });
    }),
  );
});

test('a Content-Range continues a blob if it goes from the offset or earlier to the end, and only then', () => {
  const small = fc.integer({ min: 0, max: 12 });
  const size = fc.oneof(small.map(String), fc.constant('*'));
  fc.assert(
    fc.property(small, small, size, small, small, (first, last, whole, offset, sizeBytes) => {
      const range = parseContentRange(`bytes ${first}-${last}/${whole}`);
      const fits = first <= offset && last === sizeBytes - 1 && last >= first;
      const agrees = whole === '*' || Number(whole) === sizeBytes;
      assert.equal(continuesBlob(range, offset, sizeBytes), fits && agrees);
    }),
    { numRuns: times(500, 2000) },
  );
});

test('no other text is taken for a Content-Range', () => {
  const near = fc
    .string({ unit: fc.constantFrom(...'bytes 0123456789-/*,='), maxLength: 30 })
    .map(text => `bytes ${text}`);
  fc.assert(
    fc.property(fc.oneof(near, fc.string({ unit: 'binary' })), text => {
      const range = parseContentRange(text);
      if (range === undefined) return;
      const [, first, last, size] = /^bytes[ \t]+0*(\d+)-0*(\d+)\/(?:0*(\d+)|\*)$/i.exec(text.trim()) ?? [];
      assert.deepEqual([String(range.first), String(range.last), range.sizeBytes?.toString()], [first, last, size]);
      assert.ok(range.first <= range.last && range.last < (range.sizeBytes ?? Number.POSITIVE_INFINITY));
    }),
    { numRuns: times(300, 1000) },
  );
});

test('every Retry-After is ignored or a wait that is not negative', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.double().map(String),
    fc.date({ noInvalidDate: true }).map(date => date.toUTCString()),
    fc.bigInt().map(String),
  );
  fc.assert(
    fc.property(text, fc.option(text, { nil: undefined }), (value, date) => {
      const waitMs = parseRetryAfter(value, date, NOW_MS);
      assert.ok(waitMs === undefined || (Number.isSafeInteger(waitMs) && waitMs >= 0), String(waitMs));
    }),
    { numRuns: times(300, 1000) },
  );
});

test('an invalid Content-Range is ignored', () => {
  for (const text of [
    'bytes 5-4/10',
    'bytes 0-9/9',
    'bytes */10',
    'items 0-1/2',
    'bytes 0-1',
    'bytes -1-2/3',
    '',
    undefined,
  ])
    assert.equal(parseContentRange(text), undefined, text);
  assert.equal(parseContentRange('bytes 9007199254740993-9007199254740994/*'), undefined);
});

test('only a range from the offset or earlier to the end continues a blob', () => {
  const fits = (text: string): boolean => continuesBlob(parseContentRange(text), 4, 10);
  assert.equal(fits('bytes 4-9/10'), true);
  assert.equal(fits('bytes 4-9/*'), true);
  assert.equal(fits('bytes 0-9/10'), true);
  for (const text of ['bytes 5-9/10', 'bytes 4-8/10', 'bytes 4-9/11', 'bytes 3-8/10', 'nonsense'])
    assert.equal(fits(text), false, text);
});

test('the next page is found among other links', () => {
  assert.equal(parseNextLink('</v2/a/tags/list?last=x&n=2>; rel="next"'), '/v2/a/tags/list?last=x&n=2');
  assert.equal(
    parseNextLink('<https://h/a,b>; rel=prev, <https://h/c>; title="a;b,c"; rel="last next"'),
    'https://h/c',
  );
  assert.equal(parseNextLink(['</p>; rel=prev', '</n>; REL=Next']), '/n');
  for (const text of ['', '</a>; rel="nextish"', '</a>', 'next', undefined])
    assert.equal(parseNextLink(text), undefined);
});

test('299 warnings are read, unescaped and made printable', () => {
  assert.deepEqual(parseWarnings('299 - "old \\"tag\\"", 110 x "stale", 299 - "two\u001b[31m"'), [
    'old "tag"',
    'two [31m',
  ]);
  assert.deepEqual(parseWarnings(undefined), []);
});

test('an error body gives its codes and messages, cut and without control characters', () => {
  const body = { errors: [{ code: 'DENIED', message: 'no\u001b[2J way', detail: { secret: 1 } }, { code: 'UNKNOWN' }] };
  const words = readErrorBody(Buffer.from(JSON.stringify(body)), 'application/json');
  assert.deepEqual(words.diagnostics, [
    { code: 'DENIED', message: 'no [2J way' },
    { code: 'UNKNOWN', message: '' },
  ]);
  assert.equal(words.said, 'DENIED: no [2J way; UNKNOWN');
  const long = readErrorBody(Buffer.from(JSON.stringify({ errors: [{ code: 'X', message: 'y'.repeat(9999) }] })), '');
  assert.ok((long.said?.length ?? 0) <= 300);
});

test('an error body of any form does no harm', () => {
  const said = (text: string, type = 'text/plain'): string | undefined => readErrorBody(Buffer.from(text), type).said;
  assert.equal(said('{"errors":"no"}'), undefined);
  assert.equal(said('{"errors":[null,3,{}]}'), undefined);
  assert.equal(said('{"details":"incorrect username"}'), 'incorrect username');
  assert.equal(said('404 page not found'), '404 page not found');
  assert.equal(said(''), undefined);
  assert.equal(readErrorBody(Buffer.from('\n<!DOCTYPE html><p>Log in'), undefined).isHtml, true);
});

test('a URL is shown without its secrets', () => {
  assert.equal(redactUrl(new URL('https://u:p@h:1/a/b?Signature=s#f')), 'https://h:1/a/b');
});
