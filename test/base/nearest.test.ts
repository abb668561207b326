import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compareNearness, misspelled, nearest, nearness, similar } from '../../base/nearest.ts';

const KEYS = ['image', 'file', 'versions', 'tags', 'aliases', 'platform', 'signatures'];

const shipped = [
  ...['ai-agent', 'ai-cache', 'ai-proxy', 'ai-quota', 'ai-statistics', 'ai-token-ratelimit', 'basic-auth', 'cors'],
  ...['hmac-auth', 'json-converter', 'jwt-auth', 'key-auth', 'key-rate-limit', 'mcp-server', 'oauth', 'waf'],
];

describe('nearest', () => {
  for (const [written, meant] of [
    ['Files', 'file'],
    ['FILE', 'file'],
    ['IMAGES', 'image'],
    ['img', 'image'],
    ['imageName', 'image'],
    ['vers', 'versions'],
    ['Version', 'versions'],
    ['verisons', 'versions'],
    ['sig', 'signatures'],
    ['alias', 'aliases'],
    ['Plat', 'platform'],
  ] as const)
    it(`finds ${meant} for ${written}`, () => assert.equal(nearest(written, KEYS), meant));

  for (const written of ['x', '', 'fi', 'url', 'name', 'description', 'ies', 'mag', 'ist', 'pt'])
    it(`finds nothing for "${written}"`, () => assert.equal(nearest(written, KEYS), undefined));

  it('takes two neighbours that changed places for one slip', () => {
    assert.equal(misspelled('snyc', ['sync', 'serve']), 'sync');
    assert.equal(misspelled('cros', ['cors']), 'cors');
    assert.equal(misspelled('nysc', ['sync']), undefined);
  });

  it('returns the candidate as it is spelled, the nearest first', () => {
    assert.equal(nearest('BASEPATH', ['basePath', 'base']), 'basePath');
    assert.equal(nearest('sign', ['signatures', 'signers']), 'signers');
    assert.equal(nearest('2.0.1', ['1.0.0', '2.0.0']), '2.0.0');
    assert.equal(nearest('1.0', ['1.0.0-alpha.1']), undefined);
    assert.equal(nearest('image', []), undefined);
  });
});

it('similar returns plugin names that are near, and only those', () => {
  const near: [string, string[]][] = [
    ['ai-proxi', ['ai-proxy']],
    ['AI-Proxy', ['ai-proxy']],
    ['ai_proxy', ['ai-proxy']],
    ['proxy', ['ai-proxy']],
    ['ai-stat', ['ai-statistics']],
    ['ai-token-rate-limit', ['ai-token-ratelimit']],
    ['jsonrpc-converter', ['json-converter']],
    ['mcp-server-v2', ['mcp-server']],
    ['wafs', ['waf']],
    ['cor', ['cors']],
    ['auth', ['oauth', 'jwt-auth', 'key-auth', 'hmac-auth', 'basic-auth']],
    ['ai', []],
    ['ai-', []],
    ['ai-search', []],
    ['my-plugin', []],
    ['wp-login.php', []],
    ['x', []],
    ['-', []],
    ['ip-restriction', []],
    [`ai-proxy${'y'.repeat(200)}`, []],
  ];
  for (const [asked, expected] of near) assert.deepEqual(similar(asked, shipped).slice(0, 5), expected, asked);
});

it('misspelled takes no name for a misspelling only since it begins like another', () => {
  assert.equal(misspelled('CACHEDIR', ['CACHE_DIR', 'CACHE_SIZE']), 'CACHE_DIR');
  assert.equal(misspelled('URL', ['URL_PATTERN']), undefined);
  assert.equal(misspelled('x'.repeat(129), ['x'.repeat(128)]), undefined, 'too long to compare');
  assert.equal(misspelled('x', []), undefined);
});

it('the common beginning decides between equally near candidates', () => {
  const sorted = ['2.0.0', '1.0.9', '1.1.0', '1.0.0'].sort((one, other) =>
    compareNearness(nearness('1.0.0', one), nearness('1.0.0', other)),
  );
  assert.deepEqual(sorted, ['1.0.0', '1.0.9', '1.1.0', '2.0.0']);
});

it('repeated and very long candidates do not keep the others from being compared', () => {
  const many = [...Array<string>(5000).fill('cors'), ...Array<string>(2000).fill('x'.repeat(1_000_000)), 'ai-proxy'];
  assert.equal(nearest('ai-proxi', many), 'ai-proxy');
});
