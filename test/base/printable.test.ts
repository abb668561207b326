import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { printable, printableJson, printableLines, printableValue } from '../../base/printable.ts';
import { Refusal } from '../../base/refusal.ts';

const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;
const UNSAFE_IN_LINES = /[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;
const COMMAND = /^\s*::|##\w{0,20}\[/m;

class Hostile extends Refusal {
  readonly code = 'TEST_HOSTILE';
  readonly problems = [{ found: 'a\nb' }];
}

const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc
    .array(
      fc.constantFrom(
        ...[
          '\n',
          '\r',
          '\t',
          ' ',
          '\u001b[31m',
          '\u001b]0;x\u0007',
          '\u009b2J',
          '\u202e',
          '\u2066',
          '\u200b',
          '\ufeff',
        ],
        ...[
          '::error::',
          '##[error]',
          '##vso[task.setvariable variable=x]',
          ':',
          '#',
          '[',
          'a',
          '漢',
          '😀',
          '\ud83d',
          '\u{e0041}',
        ],
      ),
      { maxLength: 40 },
    )
    .map(parts => parts.join('')),
);

describe('printable', () => {
  it('makes any text one short line without control characters and commands', () => {
    fc.assert(
      fc.property(hostile, text => {
        const shown = printable(text);
        assert.doesNotMatch(shown, UNSAFE);
        assert.doesNotMatch(shown, COMMAND);
        assert.ok(shown.length <= 2000);
      }),
    );
  });

  it('changes no harmless text', () => {
    for (const text of ['', 'ai-proxy 2.0.0', '日本語 café', 'a::b ##x', 'https://[::1]:5000/v2/', '😀', '→ “x”'])
      assert.equal(printable(text), text);
  });

  it('shows what it escapes', () => {
    assert.equal(printable('a\r\nb\tc\u001b[2J\u009b\u202e\u{e0041}'), 'a\\r\\nb\\tc\\x1b[2J\\x9b\\u202e\\u{e0041}');
    assert.equal(printable('  ::error::x'), '  : :error::x'.replace(': :', ': :'));
    assert.equal(printable('see ##vso[task.complete]'), 'see # #vso[task.complete]');
  });

  it('cuts a long text, also one that grows by escapes', () => {
    assert.equal(printable('x'.repeat(2000)), 'x'.repeat(2000));
    assert.equal(printable('x'.repeat(2001)), `${'x'.repeat(1999)}…`);
    assert.equal(printable('\u0001'.repeat(2000)).length, 2000);
    // Cut before a pattern looks at it.
    for (const unit of [':', '#', ' ', '##a', '\u001b', '::'])
      assert.equal(printable(unit.repeat(1_000_000)), printable(unit.repeat(4000)));
  });

  it('keeps the line breaks of a whole output, and its colours only where there are some', () => {
    assert.equal(printableLines('\u001b[31mred\u001b[39m\na\u001b[8mb', true), '\u001b[31mred\u001b[39m\na\\x1b[8mb');
    assert.equal(printableLines('\u001b[31mred\u001b[39m\n'), '\\x1b[31mred\\x1b[39m\n');
    fc.assert(
      fc.property(hostile, text => {
        const shown = printableLines(text);
        assert.doesNotMatch(shown, UNSAFE_IN_LINES);
        assert.doesNotMatch(shown, COMMAND);
      }),
    );
  });

  it('makes JSON that parses to the same value', () => {
    fc.assert(
      fc.property(fc.dictionary(hostile, fc.oneof(hostile, fc.array(hostile))), value => {
        const text = printableJson(value);
        assert.doesNotMatch(text, UNSAFE_IN_LINES);
        assert.doesNotMatch(text, COMMAND);
        assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)));
      }),
    );
    assert.ok(printableJson({ a: 'x'.repeat(1_000_000) }).length < 70_000);
  });

  it('copies lists, objects, maps and errors, and leaves the original alone', () => {
    const cause = new Hostile('root\n::x', { hint: 'hint' });
    const error = new Hostile('head\nforged', {
      subject: 's\u001b',
      lines: ['one\ntwo', 'three'],
      found: 'f\u202e',
      hint: 'h\n',
      consequenceOf: cause,
    });
    const copy = printableValue({ list: [error], map: new Map([['k\n', { 'a\n': 'v\n' }]]), run: () => 1, no: null });
    const [shown] = copy.list;
    assert.ok(shown instanceof Hostile);
    assert.equal(shown.message, 'head\\nforged\n  one\\ntwo\n  three');
    assert.deepEqual(
      [shown.code, shown.subject, shown.found, shown.hint, shown.problems[0]?.found, shown.consequenceOf?.message],
      ['TEST_HOSTILE', 's\\x1b', 'f\\u202e', 'h\\n', 'a\\nb', 'root\\n::x'],
    );
    assert.deepEqual([...copy.map], [['k\\n', { 'a\\n': 'v\\n' }]]);
    assert.equal(copy.run(), 1);
    assert.equal(error.message, 'head\nforged\n  one\ntwo\n  three');
    assert.equal(printableValue(new Error('a\nb')).message, 'a\\nb');
  });
});
