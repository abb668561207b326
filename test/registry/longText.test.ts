import assert from 'node:assert/strict';
import process from 'node:process';
import { test } from 'node:test';
import { shortLine } from '../../base/printable.ts';
import { parseContentRange } from '../../registry/builtin/answers/blob.ts';
import { readErrorBody } from '../../registry/builtin/faults/errorBody.ts';
import { parseChallenges } from '../../registry/builtin/http/challenges.ts';
import { parseNextLink, parseRetryAfter, parseWarnings } from '../../registry/builtin/http/headers.ts';
import { redactTarget } from '../../registry/hosts/hosts.ts';
import { orasError } from '../../registry/oras/stderr.ts';
import { parseReference } from '../../registry/reference.ts';
import { RUNS_SLOW, times } from '../support/slow.ts';

// Everything that reads text of a registry reads it in linear time: for each reader the texts that make a careless pattern slow.

const MOST_MS = 1000;
const MOST_GROWTH = 8;
const HEADER = times(64, 256) * 1024;
const BODY = times(32, 64) * 1024;
const PIECES = [
  ...[
    '<',
    '<a>; ',
    '<a>;x',
    '<>; x',
    '; rel ',
    ';\t\t\t\t',
    '"',
    '\\"',
    '"a"',
    ',',
    ' ',
    '=',
    'a=',
    'a ',
    'a a="',
    '====',
    '*',
  ],
  ...[
    '299 - "',
    '299 a ',
    'a-',
    '-',
    'a',
    'sig-',
    'sig',
    'token=',
    'Basic ',
    'Basic',
    '\t',
    '<title>',
    '\u0001',
    '\u202e',
  ],
  ...[
    '<AWSAccessKeyId>',
    '<StringToSign',
    '?',
    '@',
    '@sha',
    '/',
    'a/',
    ':',
    'x://',
    '&',
    '&amp;',
    '%25',
    '\\',
    '\\\\u',
    'é',
    '�',
  ],
  ...['Error response from registry: ', 'http://', 'bytes 0-', 'errors', '{"', '[', '9'],
];
const STARTS = [
  '',
  '<a>',
  '<a>; rel=',
  '<a>;"',
  'Bearer realm="',
  'Bearer ',
  'a ',
  '299 - "',
  'Basic',
  'bytes ',
  'http://h/?',
  'h/',
];
const ENDS = ['', '"', 'x', ' b', '>'];

/** A signed URL whose parameters contain what can be repeated in many forms, and a long token. */
const secrets = {
  request: {
    method: 'GET' as const,
    url: new URL(
      `http://x/?sig=${'\\'.repeat(60)}Z&a=${encodeURIComponent('é'.repeat(60))}Z&b=${'%25'.repeat(40)}&c=${'&amp;'.repeat(9)}`,
    ),
    headers: { authorization: `Bearer ${'a-'.repeat(times(100, 4000))}` },
  },
  proxy: undefined,
};

const READERS: Readonly<Record<string, readonly [most: number, read: (text: string) => unknown]>> = {
  parseNextLink: [HEADER, parseNextLink],
  parseChallenges: [HEADER, parseChallenges],
  parseWarnings: [HEADER, parseWarnings],
  parseRetryAfter: [HEADER, text => parseRetryAfter(text, text, 0)],
  parseContentRange: [HEADER, parseContentRange],
  redactTarget: [HEADER, text => redactTarget(text)],
  printable: [HEADER, text => shortLine(text, 300)],
  readErrorBody: [BODY, text => readErrorBody(Buffer.from(text), 'text/plain', secrets)],
  'readErrorBody of JSON': [BODY, text => readErrorBody(Buffer.from(JSON.stringify({ message: text })), '', secrets)],
  'readErrorBody of HTML': [BODY, text => readErrorBody(Buffer.from(`<html><title>${text}`), 'text/html', secrets)],
  orasError: [BODY, text => orasError(`Error: ${text}`, 'h/a:1', 'manifest')],
  parseReference: [
    BODY,
    text => {
      try {
        return parseReference(text);
      } catch {
        return undefined;
      }
    },
  ],
};

/** Every fourth where there is little time. */
const sampled = (_: string, at: number): boolean => at % times(4, 1) === 0;

/** Processor time of one call, in µs. */
function timeOf(read: (text: string) => unknown, text: string): number {
  const before = process.cpuUsage();
  read(text);
  return process.cpuUsage(before).user;
}

/**
 * Returns how much longer four times as much text takes: about 4 for a linear reader, 16 for a quadratic one. Each time is
 * the shortest of three, since the garbage collector and other programs interrupt some of them.
 */
function growth(read: (text: string) => unknown, textOf: (length: number) => string, length: number): number {
  const [whole, quarter] = [length, length / 4].map(one => {
    const text = textOf(one);
    return Math.min(...[1, 2, 3].map(() => timeOf(read, text)));
  });
  return (whole ?? 0) / Math.max(1, quarter ?? 0);
}

for (const [name, [most, read]] of Object.entries(READERS))
  test(`${name} takes linear time for any text that takes more than ${MOST_MS} ms`, () => {
    const slow: string[] = [];
    let at = 0;
    for (const piece of PIECES)
      for (const start of most === HEADER || RUNS_SLOW ? STARTS.filter(sampled) : ['']) {
        // The ends take turns.
        const end = RUNS_SLOW ? ENDS[at++ % ENDS.length] : 'x';
        const textOf = (length: number) => `${start}${piece.repeat((length - start.length) / piece.length)}${end}`;
        if (timeOf(read, textOf(most)) <= MOST_MS * 1000) continue;
        const times = growth(read, textOf, most);
        if (times > MOST_GROWTH) slow.push(`${JSON.stringify(start + piece)} … ${JSON.stringify(end)}: ${times}×`);
      }
    assert.deepEqual(slow, []);
  });
