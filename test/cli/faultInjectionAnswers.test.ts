import type { Answer } from '../support/answer.ts';
import {
  captivePortal,
  chunked,
  closeDelimited,
  corrupt,
  delay,
  drip,
  endless,
  expiredToken,
  finish,
  gzipEncoded,
  hang,
  headers,
  raw,
  redirectChain,
  redirectLoop,
  reset,
  rewrite,
  shortened,
  status,
  wrongBytes,
  wrongDigest,
} from '../support/faults.ts';
import type { RequestRecord } from '../support/records.ts';
import type { Fault, FaultRule } from '../support/script.ts';
import { beside, injectFaults } from './faultInjection.ts';

const EACH = { per: 'path' } as const;
const MANIFEST = { kind: 'manifest', per: 'path' } as const;
const QUICK = { args: ['--retries', '4', '--concurrency', '24'] };
/** Where nothing but waiting lies between the first retry and the last. */
const HOPELESS = { args: ['--retries', '2', '--concurrency', '24'] };

const first = (times: number, fault: Fault | readonly Fault[]): FaultRule => ({ ...EACH, first: times, fault });
const manifest = (times: number, fault: Fault | readonly Fault[]): FaultRule => ({ ...MANIFEST, first: times, fault });
const always = (fault: Fault | readonly Fault[]): FaultRule => ({ fault });

/** An interim answer before the real one (RFC 9110, 15.2): nobody asked for it, and it says nothing. */
const interim = (line: string): Fault => ({
  name: 'interim',
  before: ({ request }) => request.socket.write(`HTTP/1.1 ${line}\r\n\r\n`),
});
const named = (name: string, change: (headerName: string) => string): Fault =>
  rewrite(name, said => ({
    ...said,
    headers: Object.fromEntries(Object.entries(said.headers).map(([key, value]) => [change(key), value])),
  }));
const JSON_TYPE = headers({ 'content-type': 'application/json' });
const emptied = rewrite('empty', (said): Answer => ({ ...said, body: Buffer.alloc(0) }));
const inSeconds = (seconds: number): Date => new Date(Date.now() + seconds * 1000);

beside('answers', () => {
  injectFaults('answers that are put right', QUICK, [
    {
      name: '503 with Retry-After: 0, four times on each manifest',
      rules: [manifest(4, status(503, { retryAfter: 0 }))],
    },
    { name: '503 without Retry-After', rules: [first(2, status(503))] },
    { name: '429 with Retry-After: 1', rules: [manifest(1, status(429, { retryAfter: 1 }))] },
    { name: '429 until a date', rules: [manifest(1, status(429, { retryAfter: inSeconds(1) }))] },
    { name: '429 until a date that has passed', rules: [first(1, status(429, { retryAfter: inSeconds(-3600) }))] },
    { name: '429 with a Retry-After of ten years', rules: [first(1, status(429, { retryAfter: 315_360_000 }))] },
    { name: '429 with nonsense', rules: [first(1, status(429, { retryAfter: 'soon, I hope' }))] },
    { name: '429 with a negative number', rules: [first(1, status(429, { retryAfter: '-5' }))] },
    {
      name: '429 with a number that no integer holds',
      rules: [first(1, status(429, { retryAfter: '9'.repeat(400) }))],
    },
    {
      name: '500, 502, 504 and 408 in turn',
      rules: [500, 502, 504, 408].map((code, index) => ({ ...EACH, nth: index + 1, fault: status(code) })),
      requests: 30,
    },
    { name: '502 in HTML, as gateways say it', rules: [first(2, captivePortal(502))] },
    {
      name: 'the CDN’s own codes 520 and 599',
      rules: [
        { ...EACH, nth: 1, fault: status(520) },
        { ...EACH, nth: 2, fault: status(599) },
      ],
    },
    { name: 'RST instead of an answer', rules: [first(2, reset())] },
    { name: 'FIN instead of an answer', rules: [first(2, finish())] },
    { name: 'silence instead of an answer', silent: true, rules: [first(1, hang())] },
    { name: 'half a status line', rules: [first(1, raw('HTTP/1.1 20'))] },
    { name: 'something that is not HTTP', rules: [first(1, raw('SSH-2.0-OpenSSH_9.7\r\n'))] },
    { name: 'a manifest cut in its middle, honestly announced', rules: [manifest(1, shortened(200))] },
    { name: 'a manifest that breaks off', rules: [manifest(2, finish({ afterBytes: 100 }))] },
    { name: 'a manifest that stalls', silent: true, rules: [manifest(1, hang({ afterBytes: 100 }))] },
    { name: 'a manifest with a flipped byte', rules: [manifest(1, corrupt())] },
    { name: 'an empty manifest', rules: [manifest(1, emptied)] },
    { name: 'a manifest that is another JSON', rules: [manifest(1, wrongBytes('{"status":"ok"}'))] },
    { name: 'a manifest that is null', rules: [manifest(1, wrongBytes('null'))] },
    { name: 'a wrong Docker-Content-Digest once', rules: [manifest(1, wrongDigest())] },
    {
      name: 'no Docker-Content-Digest at all',
      rules: [{ ...MANIFEST, fault: headers({ 'docker-content-digest': null }) }],
    },
    { name: 'a Docker-Content-Digest that is none', rules: [{ ...MANIFEST, fault: wrongDigest('sha256:') }] },
    { name: 'a login page once for everything', rules: [first(1, captivePortal())] },
    {
      name: 'manifests in chunks, drop by drop',
      rules: [{ ...MANIFEST, fault: [chunked(), drip({ bytes: 90, everyMs: 15 })] }],
    },
    { name: 'manifests without framing', rules: [{ ...MANIFEST, fault: closeDelimited() }] },
    { name: 'manifests in gzip', rules: [{ ...MANIFEST, fault: gzipEncoded() }] },
    { name: 'manifests as application/json', rules: [{ ...MANIFEST, fault: JSON_TYPE }] },
    { name: 'manifests without a type', rules: [{ ...MANIFEST, fault: headers({ 'content-type': null }) }] },
    {
      name: 'manifests with a charset',
      rules: [
        {
          ...MANIFEST,
          fault: headers({ 'content-type': 'Application/VND.oci.image.manifest.v1+JSON; Charset=UTF-8' }),
        },
      ],
    },
    { name: 'HEADER NAMES IN CAPITALS', rules: [always(named('capitals', name => name.toUpperCase()))] },
    { name: 'an unrequested 100 Continue before each manifest, once', rules: [manifest(1, interim('100 Continue'))] },
    { name: '103 Early Hints', rules: [always(interim('103 Early Hints\r\nlink: </style.css>; rel=preload'))] },
    { name: '102 Processing, twice', rules: [always(interim('102 Processing\r\n\r\nHTTP/1.1 102 Processing'))] },
    {
      name: 'redirects of manifests',
      rules: [{ ...MANIFEST, fault: redirectChain(3, { relative: true, code: 302 }) }],
    },
    { name: 'permanent redirects', rules: [{ ...MANIFEST, fault: redirectChain(2, { code: 308 }) }] },
    { name: 'See Other', rules: [{ ...EACH, fault: redirectChain(1, { code: 303 }) }] },
    {
      name: 'many odd headers',
      rules: [
        always(
          headers({
            'x-long': 'x'.repeat(6000),
            via: '1.1 a, 1.1 b',
            age: '-1',
            'accept-ranges': 'none',
            'set-cookie': 'a=b',
          }),
        ),
      ],
    },
    { name: 'a late answer', rules: [always(delay(300))] },
  ]);

  injectFaults('answers that stay wrong are told by name, and stop no other plugin:', HOPELESS, [
    { name: 'the others are well' },
    { name: '500 for ever', rules: [always(status(500))], fails: 'REGISTRY_UNAVAILABLE' },
    { name: '503 for ever', rules: [always(status(503))], fails: 'REGISTRY_UNAVAILABLE' },
    { name: '502 for ever', rules: [always(status(502))], fails: 'REGISTRY_UNAVAILABLE' },
    { name: '429 for ever', rules: [always(status(429))], fails: 'REGISTRY_RATE_LIMITED' },
    {
      name: '429 for ten years',
      rules: [always(status(429, { retryAfter: 315_360_000 }))],
      fails: 'REGISTRY_RATE_LIMITED',
    },
    { name: 'RST for ever', rules: [always(reset())], fails: 'REGISTRY_UNAVAILABLE' },
    { name: 'FIN for ever', rules: [always(finish())], fails: 'REGISTRY_UNAVAILABLE' },
    { name: 'silence for ever', silent: true, rules: [always(hang())], fails: 'REGISTRY_TIMEOUT', requests: 30 },
    { name: 'no HTTP', rules: [always(raw('220 smtp.example ESMTP\r\n'))], fails: 'REGISTRY_PROTOCOL' },
    { name: 'a login page', rules: [always(captivePortal())], fails: 'REGISTRY_PROTOCOL' },
    { name: 'a login page with 511', rules: [always(captivePortal(511))], fails: 'REGISTRY_PROTOCOL' },
    { name: 'redirects in a circle', rules: [{ ...MANIFEST, fault: redirectLoop() }], fails: 'REGISTRY_REDIRECT' },
    {
      name: 'fifty-one redirects',
      rules: [{ ...MANIFEST, fault: redirectChain(51) }],
      fails: 'REGISTRY_REDIRECT',
      onPurpose: true,
    },
    {
      name: 'a redirect to nowhere',
      rules: [{ ...MANIFEST, fault: rewrite('nowhere', () => ({ status: 307, headers: {} })) }],
      fails: 'REGISTRY_REDIRECT',
    },
    {
      name: 'a redirect to a file',
      rules: [
        { ...MANIFEST, fault: rewrite('file', () => ({ status: 307, headers: { location: 'file:///etc/passwd' } })) },
      ],
      fails: 'REGISTRY_REDIRECT',
    },
    {
      name: 'a wrong digest header',
      rules: [{ ...MANIFEST, fault: wrongDigest() }],
      fails: 'REGISTRY_DIGEST_MISMATCH',
    },
    {
      name: 'a flipped byte in a manifest',
      rules: [{ ...MANIFEST, fault: corrupt() }],
      fails: 'REGISTRY_DIGEST_MISMATCH',
    },
    {
      name: 'a manifest that is no JSON',
      rules: [{ ...MANIFEST, fault: [wrongBytes('{"layers":['), headers({ 'docker-content-digest': null })] }],
      fails: 'REGISTRY_PROTOCOL',
    },
    {
      name: 'a manifest without end',
      rules: [{ ...MANIFEST, fault: endless() }],
      fails: 'REGISTRY_(PROTOCOL|UNAVAILABLE)',
    },
    { name: 'no such repository', rules: [always(status(404, { code: 'NAME_UNKNOWN' }))], fails: 'REGISTRY_NOT_FOUND' },
    {
      name: 'no such tag',
      rules: [{ ...MANIFEST, fault: status(404, { code: 'MANIFEST_UNKNOWN' }) }],
      fails: 'REGISTRY_NOT_FOUND',
    },
    { name: 'not allowed', rules: [always(status(403, { code: 'DENIED' }))], fails: 'REGISTRY_DENIED' },
    {
      name: '401 without a challenge',
      rules: [always(status(401, { code: 'UNAUTHORIZED' }))],
      fails: 'REGISTRY_UNAUTHORIZED',
    },
    { name: '418', rules: [always(status(418))], fails: 'REGISTRY_PROTOCOL' },
    {
      name: '204 and nothing',
      rules: [always(rewrite('nothing', () => ({ status: 204, headers: {} })))],
      fails: 'REGISTRY_PROTOCOL',
    },
  ]);

  const TOKENS = { kind: 'token' } as const;
  const BEARER = { auth: { kind: 'bearer', realm: 'cross-origin' } } as const;
  const token = (fault: Fault | readonly Fault[], times = 1): FaultRule => ({ ...TOKENS, first: times, fault });
  const answering = (body: unknown): Fault => wrongBytes(JSON.stringify(body));
  const unasked = (record: RequestRecord): boolean => record.headers.authorization === undefined;
  const challenged = (
    change: (realm: string, scope: string, service: string) => string | readonly string[],
  ): FaultRule => ({
    when: unasked,
    server: 'registry',
    fault: rewrite('challenge', said => {
      const text = String(said.headers['www-authenticate']);
      const part = (name: string): string => new RegExp(`${name}="([^"]*)"`).exec(text)?.[1] ?? '';
      return {
        ...said,
        headers: { ...said.headers, 'www-authenticate': change(part('realm'), part('scope'), part('service')) },
      };
    }),
  });

  injectFaults(
    'the token server has its moods, and',
    { registry: BEARER, args: ['--retries', '4', '--concurrency', '24'] },
    [
      { name: 'answers 500 twice', rules: [token(status(500), 2)] },
      { name: 'answers 429 twice', rules: [token(status(429, { retryAfter: 0 }), 2)] },
      { name: 'answers HTML once', rules: [token(captivePortal())] },
      { name: 'answers 502 in HTML', rules: [token(captivePortal(502), 2)] },
      { name: 'breaks off', rules: [token(finish({ afterBytes: 10 }), 2)] },
      { name: 'is reset', rules: [token(reset(), 2)] },
      { name: 'hangs once', silent: true, rules: [token(hang())] },
      { name: 'is slow', rules: [{ ...TOKENS, fault: delay(400) }] },
      { name: 'sends its JSON cut short', rules: [token(shortened(9), 2)] },
      { name: 'sends nothing', rules: [token(emptied)] },
      { name: 'sends an empty token', rules: [token(answering({ token: '' }))] },
      { name: 'sends a token that does not work', rules: [token(answering({ token: 'stale', expires_in: 300 }))] },
      { name: 'sends expires_in 1', rules: [{ ...TOKENS, fault: changed({ expires_in: 1 }) }], requests: 40 },
      { name: 'sends expires_in 0', rules: [{ ...TOKENS, fault: changed({ expires_in: 0 }) }], requests: 40 },
      { name: 'sends expires_in as text', rules: [{ ...TOKENS, fault: changed({ expires_in: '300' }) }] },
      { name: 'sends a negative expires_in', rules: [{ ...TOKENS, fault: changed({ expires_in: -1 }) }], requests: 40 },
      { name: 'sends no expires_in', rules: [{ ...TOKENS, fault: changed({ expires_in: undefined }) }] },
      {
        name: 'sends an issued_at of another century',
        rules: [{ ...TOKENS, fault: changed({ issued_at: '1999-01-01T00:00:00Z' }) }],
      },
      { name: 'sends access_token as well', rules: [{ ...TOKENS, fault: changed({ access_token: 'other' }) }] },
      { name: 'sends its JSON in gzip', rules: [{ ...TOKENS, fault: gzipEncoded() }] },
      {
        name: 'sends its JSON as text/plain in chunks',
        rules: [{ ...TOKENS, fault: [headers({ 'content-type': 'text/plain' }), chunked()] }],
      },
      { name: 'redirects', rules: [token(redirectChain(2))] },
      { name: 'closes each connection', rules: [{ ...TOKENS, fault: headers({ connection: 'close' }) }] },
      { name: 'tokens expire in mid-run', rules: [{ kind: 'blob', nth: [1, 3], fault: expiredToken() }], requests: 40 },
      {
        name: 'the challenge is in capitals',
        rules: [challenged((realm, scope, service) => `BEARER REALM="${realm}",SERVICE="${service}",SCOPE="${scope}"`)],
      },
      {
        name: 'the challenge has no quotes',
        rules: [challenged((realm, scope, service) => `Bearer realm=${realm},service=${service},scope=${scope}`)],
      },
      {
        name: 'the challenge has spaces everywhere',
        rules: [
          challenged(
            (realm, scope, service) => `Bearer  realm = "${realm}" ,  service = "${service}" , scope = "${scope}"`,
          ),
        ],
      },
      {
        name: 'the challenge has no scope',
        rules: [challenged((realm, _, service) => `Bearer realm="${realm}",service="${service}"`)],
      },
      {
        name: 'the challenge stands behind others in one header',
        rules: [
          challenged(
            (realm, scope, service) =>
              `Negotiate, Digest realm="a, b", nonce="c\\"d", Bearer realm="${realm}",service="${service}",scope="${scope}"`,
          ),
        ],
      },
      {
        name: 'there are several challenges',
        rules: [
          challenged((realm, scope, service) => [
            'Basic realm="x"',
            `Bearer realm="${realm}",service="${service}",scope="${scope}"`,
          ]),
        ],
      },
      { name: 'is out of order for ever', rules: [{ ...TOKENS, fault: status(500) }], fails: 'REGISTRY_UNAVAILABLE' },
      {
        name: 'gives no token',
        rules: [{ ...TOKENS, fault: status(401, { code: 'UNAUTHORIZED' }) }],
        fails: 'REGISTRY_UNAUTHORIZED',
      },
      {
        name: 'gives tokens that never work',
        rules: [{ ...TOKENS, fault: answering({ token: 'never' }) }],
        fails: 'REGISTRY_UNAUTHORIZED',
        requests: 40,
      },
      {
        name: 'answers HTML for ever',
        rules: [{ ...TOKENS, fault: captivePortal() }],
        fails: 'REGISTRY_PROTOCOL',
        requests: 30,
      },
    ],
  );
});

/** Other members in the token server's JSON; undefined takes one away. */
function changed(members: Readonly<Record<string, unknown>>): Fault {
  return rewrite('token-json', said => {
    if (said.status !== 200) return said;
    const json = JSON.parse(String(said.body)) as object;
    return { ...said, body: Buffer.from(JSON.stringify({ ...json, ...members })) };
  });
}
