import {
  chunked,
  closeDelimited,
  corrupt,
  delay,
  drip,
  endless,
  expiredToken,
  expiringUrl,
  finish,
  gzipEncoded,
  hang,
  headers,
  rangeIgnored,
  rangeRefused,
  redirectChain,
  reset,
  rewrite,
  shiftedRange,
  shortened,
  status,
  wrongBytes,
  wrongContentRange,
} from '../support/faults.ts';
import type { Fault, FaultRule } from '../support/script.ts';
import { beside, injectFaults, type Trial } from './faultInjection.ts';

const CUT = 12_000;
const WHOLE = Number.MAX_SAFE_INTEGER;
const BLOB = { kind: 'blob', method: 'GET', per: 'path' } as const;
/** The first request for each blob meets it. */
const once = (fault: Fault | readonly Fault[]): FaultRule => ({ ...BLOB, first: 1, fault });
const resumed = (fault: Fault | readonly Fault[], times = WHOLE): FaultRule => ({
  ...BLOB,
  ranged: true,
  first: times,
  fault,
});
const broken = once(reset({ afterBytes: CUT }));

const stale = rewrite('stale', said => ({ ...said, body: Buffer.alloc(said.body?.length ?? 0, 'old') }));
const trailed = rewrite('trailed', said => ({
  ...said,
  body: Buffer.concat([said.body ?? Buffer.alloc(0), Buffer.from('\n\n')]),
}));

/** All of the body, wrapped as one part of a multipart/byteranges answer (RFC 9110, 14.6). */
const multipart = rewrite('multipart', said => {
  const range = String(said.headers['content-range']);
  const { 'content-range': _, ...kept } = said.headers;
  const head = `--X\r\nContent-Type: application/octet-stream\r\nContent-Range: ${range}\r\n\r\n`;
  const body = Buffer.concat([Buffer.from(head), said.body ?? Buffer.alloc(0), Buffer.from('\r\n--X--\r\n')]);
  return { ...said, headers: { ...kept, 'content-type': 'multipart/byteranges; boundary=X' }, body };
});

const breaks: readonly Trial[] = Object.entries({ RST: reset, FIN: finish, silence: hang })
  .flatMap(([how, fault]): Trial[] => [
    { name: `${how} in the middle of each`, rules: [once(fault({ afterBytes: CUT }))] },
    { name: `${how} before the status line of each`, rules: [once(fault())] },
    { name: `${how} right behind the headers`, rules: [once(fault({ afterBytes: 0 }))] },
    // RST takes back what was sent but not yet read.
    {
      name: `${how} before the last byte`,
      rules: [once(fault({ afterBytes: -1 }))],
      bytes: how === 'RST' ? 2.1 : 1.02,
    },
  ])
  .map(trial => ({ ...trial, silent: trial.name.startsWith('silence') }));

beside('the bodies of blobs', () => {
  injectFaults(
    'a blob comes whole, and no byte of it twice without need, though',
    { args: ['--retries', '4', '--concurrency', '24'] },
    [
      ...breaks,
      {
        name: 'each connection carries a little only',
        rules: [{ kind: 'blob', path: /large/, first: 9, fault: finish({ afterBytes: 120_000 }) }],
      },
      // On a busy machine each RST takes back much that was not yet read.
      {
        name: 'RST after a little of each connection',
        rules: [{ kind: 'blob', path: /large/, first: 9, fault: reset({ afterBytes: 120_000 }) }],
        bytes: 2,
        luck: true,
      },
      {
        name: 'RST after the whole body',
        rules: [{ ...BLOB, fault: reset({ afterBytes: WHOLE }) }],
        bytes: 6,
        luck: true,
      },
      {
        name: 'the connection is closed behind each answer, unannounced',
        rules: [{ fault: finish({ afterBytes: WHOLE }) }],
      },
      { name: 'Connection: close on each answer', rules: [{ fault: headers({ connection: 'close' }) }] },
      { name: 'RST, and Range is ignored from then on', rules: [broken, resumed(rangeIgnored())], bytes: 2.1 },
      { name: 'RST, and Range is refused with 416', rules: [broken, resumed(rangeRefused())], bytes: 1.1 },
      { name: 'RST, then a Content-Range from the start', rules: [broken, resumed(wrongContentRange())], bytes: 2.1 },
      { name: 'RST, then no Content-Range', rules: [broken, resumed(wrongContentRange(null))], bytes: 2.1 },
      {
        name: 'RST, then Content-Range: bytes */N',
        rules: [broken, resumed(wrongContentRange('bytes */9'))],
        bytes: 2.1,
      },
      {
        name: 'RST, then nonsense as Content-Range',
        rules: [broken, resumed(wrongContentRange('lines 1-2/3'))],
        bytes: 2.1,
      },
      { name: 'RST, then another range than asked for', rules: [broken, resumed(shiftedRange(-500))], bytes: 2.1 },
      { name: 'RST, then a range further on', rules: [broken, resumed(shiftedRange(500))], bytes: 2.1 },
      { name: 'RST, then multipart/byteranges', rules: [broken, resumed(multipart)], bytes: 2.1 },
      { name: 'RST, then a range in gzip', rules: [broken, resumed(gzipEncoded())], bytes: 2.1 },
      {
        name: 'RST, then Range ignored and RST',
        rules: [broken, resumed([rangeIgnored(), reset({ afterBytes: CUT + 4000 })], 2)],
        bytes: 1.3,
      },
      {
        name: 'the signed address has expired at first',
        rules: [{ ...BLOB, server: 'registry', first: 1, fault: expiringUrl({ uses: 0 }) }],
      },
      {
        name: 'the blob is behind fifty redirects',
        rules: [{ ...BLOB, server: 'registry', fault: redirectChain(50, { crossOrigin: true }) }],
      },
      { name: 'it drips', rules: [{ ...BLOB, fault: drip({ bytes: 40_000, everyMs: 15 }) }] },
      { name: 'it drips a byte a second at first', silent: true, rules: [once(drip({ bytes: 1, everyMs: 1000 }))] },
      {
        name: 'every other request hangs',
        silent: true,
        rules: [{ nth: Array.from({ length: 100 }, (_, index) => 2 * index + 1), fault: hang() }],
      },
      { name: 'stale bytes of that length came once', rules: [once(stale)], bytes: 2.1 },
      { name: 'stale bytes of another length came once', rules: [once(wrongBytes('something old'))], bytes: 2.1 },
      // The kernel takes a part of a body that nobody wants.
      { name: 'a longer stale body came once', rules: [once(wrongBytes(Buffer.alloc(1_200_000, 'older')))], bytes: 5 },
      { name: 'one byte was flipped once', rules: [once(corrupt())], bytes: 2.1 },
      {
        name: 'one byte was flipped before it broke',
        rules: [once([corrupt({ atByte: 100 }), reset({ afterBytes: CUT })])],
        bytes: 2.1,
      },
      { name: 'one byte was flipped behind the break', rules: [broken, resumed(corrupt(), 1)], bytes: 2.1 },
      { name: 'every answer is in gzip', rules: [{ fault: gzipEncoded() }], bytes: 1.1 },
      { name: 'gzip breaks off', rules: [once([gzipEncoded(), reset({ afterBytes: 3000 })])], bytes: 1.1 },
      {
        name: 'gzip is announced, but is not there, at first',
        rules: [once([headers({ 'content-encoding': 'gzip' }), chunked()])],
        bytes: 2.1,
      },
      {
        name: 'an unknown Content-Encoding on the blob itself',
        rules: [{ ...BLOB, fault: [headers({ 'content-encoding': 'zstd' }), chunked()] }],
      },
      {
        name: 'Content-Length promises too much at first',
        rules: [once([headers({ 'content-length': '2000000' }), finish({ afterBytes: WHOLE })])],
        bytes: 2.1,
      },
      {
        name: 'Content-Length promises too much each time',
        rules: [{ ...BLOB, fault: [headers({ 'content-length': '2000000' }), finish({ afterBytes: WHOLE })] }],
        bytes: 2.1,
      },
      {
        name: 'Content-Length promises too much, and silence',
        silent: true,
        rules: [{ ...BLOB, fault: [headers({ 'content-length': '2000000' }), hang({ afterBytes: WHOLE })] }],
        bytes: 2.1,
      },
      {
        name: 'Content-Length promises too little at first',
        rules: [once(headers({ 'content-length': '9000' }))],
        bytes: 2.1,
      },
      { name: 'something follows the blob', rules: [{ ...BLOB, fault: [trailed, chunked()] }], bytes: 1.1 },
      { name: 'it was honestly too short once', rules: [once(shortened(700))] },
      { name: 'chunks, each time', rules: [{ ...BLOB, fault: chunked() }] },
      { name: 'chunks that end early', rules: [once([chunked(), finish({ afterBytes: CUT })])] },
      { name: 'chunks, and RST', rules: [once([chunked(), reset({ afterBytes: CUT })])] },
      { name: 'no framing at all', rules: [{ ...BLOB, fault: closeDelimited() }] },
      { name: 'no framing, and an early end', rules: [once([closeDelimited(), finish({ afterBytes: CUT })])] },
      { name: 'a body without end each time', rules: [{ ...BLOB, fault: endless() }], bytes: 30 },
      { name: 'a slow first byte', rules: [{ fault: delay(250) }] },
      {
        name: 'RST, 503, silence, 429 and a flipped byte one after the other',
        silent: true,
        rules: [
          { ...BLOB, nth: 1, fault: reset({ afterBytes: CUT }) },
          { ...BLOB, nth: 2, fault: status(503, { retryAfter: 0 }) },
          { ...BLOB, nth: 3, fault: hang({ afterBytes: 2000 }) },
          { ...BLOB, nth: 4, fault: status(429) },
          { ...BLOB, nth: 5, fault: [corrupt(), rangeIgnored()] },
        ],
        bytes: 3.2,
        requests: 40,
      },
    ],
  );

  // Fewer retries: nothing but waiting lies between the first and the last of them.
  injectFaults(
    'a blob that does not come is told by name, whether',
    { args: ['--retries', '2', '--concurrency', '24'] },
    [
      {
        name: 'it is wrong each time',
        rules: [{ ...BLOB, path: /large/, fault: corrupt() }],
        fails: { large: 'REGISTRY_DIGEST_MISMATCH' },
        bytes: 3.1,
      },
      {
        name: 'it breaks each time before a byte',
        rules: [{ ...BLOB, path: /large/, fault: reset({ afterBytes: 0 }) }],
        fails: { large: 'REGISTRY_UNAVAILABLE' },
      },
      {
        name: 'it hangs each time',
        silent: true,
        rules: [{ ...BLOB, path: /small/, fault: hang() }],
        fails: { small: 'REGISTRY_TIMEOUT' },
        requests: 30,
      },
      {
        name: 'it is too short each time',
        rules: [{ ...BLOB, path: /large/, fault: shortened(700) }],
        fails: { large: 'REGISTRY_UNAVAILABLE' },
        // Nothing comes of asking for the rest, so all of it is asked for once.
        bytes: 2.1,
      },
      {
        name: 'it is not there',
        rules: [{ ...BLOB, fault: status(404, { code: 'BLOB_UNKNOWN' }) }],
        fails: 'REGISTRY_NOT_FOUND',
      },
    ],
  );

  injectFaults(
    'a token and storage elsewhere stand between, and',
    {
      registry: { auth: { kind: 'bearer', realm: 'cross-origin' }, blobRedirect: 'cross-origin' },
      args: ['--retries', '4', '--concurrency', '24'],
    },
    [
      { name: 'nothing goes wrong', requests: 16 },
      {
        name: 'RST in storage, the token expires, Range is ignored',
        rules: [
          { ...BLOB, server: 'storage', first: 1, fault: reset({ afterBytes: CUT }) },
          { ...BLOB, server: 'registry', ranged: true, first: 1, fault: expiredToken() },
          { ...BLOB, server: 'storage', ranged: true, fault: rangeIgnored() },
        ],
        bytes: 2.1,
        requests: 40,
      },
      {
        name: 'storage breaks off and refuses Range',
        rules: [
          { ...BLOB, server: 'storage', first: 1, fault: reset({ afterBytes: CUT }) },
          { ...BLOB, server: 'storage', ranged: true, fault: rangeRefused() },
        ],
        bytes: 1.1,
        requests: 40,
      },
      {
        name: 'storage breaks off, and each signed address is good for once',
        rules: [
          { ...BLOB, server: 'registry', fault: expiringUrl({ uses: 1 }) },
          { ...BLOB, server: 'storage', first: 2, fault: reset({ afterBytes: CUT }) },
        ],
        requests: 40,
      },
      {
        name: 'storage answers 500, 503 and 504',
        rules: [
          { ...BLOB, server: 'storage', nth: 1, fault: status(500) },
          { ...BLOB, server: 'storage', nth: 2, fault: status(503) },
          { ...BLOB, server: 'storage', nth: 3, fault: status(504) },
        ],
        requests: 40,
      },
      {
        name: 'storage has lost it',
        rules: [{ ...BLOB, server: 'storage', fault: status(404, { body: '<Error/>' }) }],
        fails: 'REGISTRY_NOT_FOUND',
        requests: 40,
      },
      {
        name: 'storage refuses it for ever',
        rules: [{ ...BLOB, server: 'storage', fault: status(403, { body: '<Error/>' }) }],
        fails: 'REGISTRY_DENIED',
        requests: 40,
      },
    ],
  );
});
