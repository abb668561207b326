import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { WriteStream } from 'node:tty';
import { wrapFor, wrapLines } from '../../cli/render/print.ts';
import { renderFigures } from '../../cli/sync/summary.ts';
import type { Outcome, SyncReport } from '../../mirror/report.ts';

const DIGEST = (letter: string) => `sha256:${letter.repeat(64)}`;

function outcome(name: string, status: Outcome['status'], more: Partial<Outcome> = {}): Outcome {
  return { name, version: '1.0.0', status, reference: `r/${name}:1.0.0`, digest: DIGEST('b'), warnings: [], ...more };
}

function reportOf(outcomes: readonly Outcome[], more: Partial<SyncReport> = {}): SyncReport {
  return {
    tree: '/tree',
    outcomes,
    drift: [],
    extras: [],
    unverified: [],
    problems: [],
    interrupted: false,
    bytesDownloaded: 2000,
    requests: 1,
    durationMs: 12,
    published: [],
    ...more,
  };
}

const OPTIONS = { color: false, treeDir: 'plugins' };

const MIXED = [
  outcome('a', 'fetched', { change: 'missing' }),
  outcome('b', 'fetched', { change: 'damaged' }),
  outcome('c', 'fetched', { change: 'changed', previousDigest: DIGEST('a') }),
  outcome('d', 'fetched', { change: 'changed' }),
  outcome('e', 'fetched', { change: 'changed' }),
  outcome('f', 'kept'),
  outcome('g', 'aliased', { aliasOf: '0.9.0' }),
  outcome('h', 'aliased', { aliasOf: '0.9.0', unchanged: true }),
];

/** The tag of `d` was followed. */
const FOLLOWED = {
  name: 'd',
  version: '1.0.0',
  reference: 'r/d:1.0.0',
  lockedDigest: DIGEST('c'),
  foundDigest: DIGEST('b'),
  followed: true,
} as const;

describe('text for people on a terminal', () => {
  it('is broken between words, further rows are indented, and colours have no width', () => {
    const text = '✗ 3 findings in 15 versions\n  expected  a bundle: a tar, its first part or a folder\n';
    assert.deepEqual(wrapLines(text, 30).split('\n'), [
      '✗ 3 findings in 15 versions',
      '  expected  a bundle: a tar,',
      '    its first part or a folder',
      '',
    ]);
    assert.equal(wrapLines(`\u001b[31m${'a'.repeat(10)}\u001b[39m`, 10), `\u001b[31m${'a'.repeat(10)}\u001b[39m`);
    assert.equal(wrapLines(`${'a'.repeat(20)} b`, 10), `${'a'.repeat(20)}\n  b`, 'a long word stays whole');
    assert.equal(wrapLines('name      version     size', 20), 'name      version\n  size', 'the columns of a table');
  });

  it('keeps a command to copy on its line, and breaks a sentence', () => {
    const command = '  → plugin-mirror serve --tree /data/plugins';
    assert.equal(wrapLines(command, 20), command);
    const check = '  → check it with: sha256sum -c plugins.tar.sha256';
    assert.equal(wrapLines(check, 20), check);
    const hint = '  → Name the file, or make one from the list of Higress itself: plugin-mirror import FILE';
    for (const row of wrapLines(hint, 30).split('\n')) assert.ok(row.length <= 30, row);
    assert.equal(wrapLines('  → Run plugin-mirror sync again.', 20), '  → Run\n    plugin-mirror\n    sync again.');
  });

  it('is not changed for a file, a pipe, and a terminal without a width', () => {
    const long = 'a b c d e f g';
    assert.equal(wrapFor({ isTTY: false, columns: 5 } as unknown as WriteStream, long), long);
    assert.equal(wrapFor({ isTTY: true, columns: 0 } as unknown as WriteStream, long), long);
    assert.equal(wrapFor({ isTTY: true, columns: 5 } as unknown as WriteStream, long), 'a b c\n  d e\n  f g');
  });
});

describe('the last lines of a sync', () => {
  it('list what changed with both digests, the figures, and the next command', () => {
    assert.deepEqual(renderFigures(reportOf(MIXED, { drift: [FOLLOWED] }), OPTIONS).split('\n'), [
      'new      a 1.0.0',
      'alias    g 1.0.0 → 0.9.0',
      'repaired b 1.0.0',
      'replaced e 1.0.0',
      `updated  c 1.0.0: ${DIGEST('a')} → ${DIGEST('b')}`,
      `updated  d 1.0.0: ${DIGEST('c')} → ${DIGEST('b')}`,
      '✓ 8 of 8 in plugins  5 fetched · 1 kept · 2 aliased · 2.0 KB in 12 ms, 1 request',
      '  → plugin-mirror serve',
      '',
    ]);
  });

  it('have the same words on a terminal, broken between words', () => {
    const words = (width?: number) => renderFigures(reportOf(MIXED), { ...OPTIONS, width }).split(/\s+/);
    for (const width of [60, 80, 120, 200]) {
      assert.deepEqual(words(width), words());
      const lines = renderFigures(reportOf(MIXED), { ...OPTIONS, width }).split('\n');
      for (const line of lines) assert.ok(line.length <= Math.max(width, 2 + DIGEST('a').length), line);
    }
  });

  it('end with the figures if a version failed, after what to do', () => {
    const failed = outcome('z', 'failed', { error: new Error('no') });
    const lines = renderFigures(reportOf([...MIXED, failed]), OPTIONS)
      .trimEnd()
      .split('\n');
    assert.match(lines.at(-1) ?? '', /^✗ 8 of 9 in plugins .* 1 failed/);
    assert.match(lines.at(-2) ?? '', /→ Then run sync again: it fetches only what is missing\.$/);
    assert.ok(lines.includes('new      a 1.0.0'));
  });

  it('say how an interrupted run continues', () => {
    const lines = renderFigures(reportOf(MIXED, { interrupted: true }), OPTIONS)
      .trimEnd()
      .split('\n');
    assert.match(lines.at(-1) ?? '', /^■ interrupted: 8 finished/);
    assert.match(lines.at(-2) ?? '', /→ Run sync again: it continues from what is finished\.$/);
  });

  it('name no next command if nothing changed, and are one line with --quiet', () => {
    const kept = [outcome('f', 'kept'), outcome('h', 'aliased', { aliasOf: '0.9.0', unchanged: true })];
    const line = /^✓ 2 of 2 in plugins {2}1 kept · 1 aliased · 2\.0 KB in 12 ms, 1 request\n$/;
    assert.match(renderFigures(reportOf(kept), OPTIONS), line);
    const brief = renderFigures(reportOf(MIXED), { ...OPTIONS, isBrief: true });
    assert.match(brief, /^✓ 8 of 8[^\n]*\n$/);
  });

  it('quote the folder in the next command as a shell reads it', () => {
    const [treeDir, command] = ["my tree's", "  → plugin-mirror serve --tree 'my tree'\\''s'\n"];
    assert.ok(renderFigures(reportOf(MIXED), { color: false, treeDir }).endsWith(command));
  });
});
