import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import picomatch from 'picomatch';
import { globMatcher } from '../../base/globs.ts';
import { refused } from '../support/refused.ts';
import { times } from '../support/slow.ts';

/** No name or version is `.` or `..`, which picomatch treats as folders. */
const part = fc
  .string({ unit: fc.constantFrom('a', 'b', '1', '.', '-', '_'), minLength: 1, maxLength: 6 })
  .filter(text => !/^\.\.?$/.test(text));
const globPart = fc
  .array(fc.constantFrom('a', 'b', '1', '.', '-', '*', '?', '{a,b}', '{a*,1?}'), {
    minLength: 1,
    maxLength: 4,
  })
  .map(parts => parts.join(''));

describe('a glob', () => {
  it('matches what picomatch matches', () => {
    fc.assert(
      fc.property(fc.array(globPart, { minLength: 1, maxLength: 2 }), part, part, (parts, name, version) => {
        const glob = parts.join('/');
        fc.pre(!/(?:^|\/|[{,])\*\*/.test(glob));
        for (const text of [name, `${name}/${version}`])
          assert.equal(globMatcher(glob)(text), picomatch(glob)(text), `${glob} ${text}`);
      }),
      { numRuns: times(500, 2000) },
    );
  });

  it('may have classes, ** and extended globs', () => {
    const cases: readonly (readonly [string, string, boolean])[] = [
      ['a[bc]-*', 'ab-x', true],
      ['**', 'a/1.0.0', true],
      ['a/**', 'a/1.0.0', true],
      ['!(a|b)', 'a', false],
      ['!(a|b)', 'c', true],
      ['@(ai|mcp)-*', 'mcp-server', true],
      ['a\\*', 'a*', true],
      ['!{a,b}', 'a', false],
      ['!{a,b}', 'c', true],
      ['{!a,b}', 'c', false],
    ];
    for (const [glob, text, matches] of cases) assert.equal(globMatcher(glob)(text), matches, `${glob} ${text}`);
  });

  it('is matched in a moment, or refused', () => {
    const text = 'a'.repeat(128);
    const globs = ['*a'.repeat(400), `{${'*a'.repeat(40)}c,*a*a*a*c}`, '!(a*a*a)c', '@(*a*a)c', '[a-b]*a*a*c'];
    for (const glob of [...globs, `${'{a,b}'.repeat(6)}*`]) {
      const started = performance.now();
      assert.equal(globMatcher(glob)(text), /\*$/.test(glob));
      assert.ok(performance.now() - started < 250, glob);
    }
    for (const glob of [
      '*(*a)c',
      '+(a*)c',
      '+(+(a))c',
      '[a]*a*a*a*c',
      '**/**/**/**/a',
      '{a,b}'.repeat(60),
      'x'.repeat(1001),
    ])
      assert.throws(() => globMatcher(glob), refused('SELECTION_INVALID'), glob);
  });
});
