import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import type { WriteStream } from 'node:tty';
import { stripVTControlCharacters } from 'node:util';
import { formatBytes } from '../../base/words.ts';
import { startCounter } from '../../cli/render/counter.ts';
import { SyncProgress } from '../../cli/sync/progress.ts';

const FRAME_MS = 80;
const MODULE = 15_000_000;

/** A terminal as most are: a line that is too long goes on in the next row, and is joined again where there is room. */
class Terminal {
  readonly isTTY = true;
  readonly rows = 24;
  columns: number;
  /** All that was printed since the last frame. */
  written = '';
  /** Lines as they were written; each takes one row or more. The cursor is at the start of one of them, or at its end. */
  #lines = [''];
  #at = 0;

  constructor(columns: number) {
    this.columns = columns;
  }

  write(text: string): boolean {
    this.written += text;
    for (const [part] of text.matchAll(/\u001b\[[\d?;]*[A-Za-z]|[\r\n]|[^\r\n\u001b]+/g)) this.#take(part);
    return true;
  }

  /** The rows on the screen, without empty ones at its end. */
  shown(): string[] {
    const rows = this.#lines.flatMap(line => this.#rowsOf(line));
    while (rows.at(-1) === '') rows.pop();
    return rows;
  }

  #rowsOf(line: string): string[] {
    return line === '' ? [''] : (line.match(new RegExp(`.{1,${this.columns}}`, 'gu')) ?? []);
  }

  #take(part: string): void {
    const count = Number(/\d+/.exec(part)?.[0] ?? 1);
    if (part === '\n') {
      this.#at += 1;
      if (this.#at === this.#lines.length) this.#lines.push('');
    } else if (part.endsWith('A') && part.startsWith('\u001b')) this.#up(count);
    else if (part.endsWith('B') && part.startsWith('\u001b'))
      this.#at = Math.min(this.#at + count, this.#lines.length - 1);
    else if (part.endsWith('K') && part.startsWith('\u001b')) {
      if (part !== '\u001b[K' && part !== '\u001b[0K') this.#lines[this.#at] = '';
    } else if (part.endsWith('J') && part.startsWith('\u001b'))
      this.#lines.splice(this.#at, Number.POSITIVE_INFINITY, '');
    else if (part !== '\r' && !part.startsWith('\u001b')) this.#lines[this.#at] = part;
  }

  /** By rows; within a line of several it splits the line there. */
  #up(count: number): void {
    const rows = this.#lines.slice(0, this.#at).flatMap(line => this.#rowsOf(line));
    const kept = rows.slice(0, Math.max(0, rows.length - count));
    const below = rows.slice(kept.length);
    this.#lines.splice(0, this.#at, ...kept, ...below);
    this.#at = kept.length;
  }
}

function show(columns: number): { terminal: Terminal; progress: SyncProgress; frame: () => string[] } {
  const terminal = new Terminal(columns);
  terminal.write('$ plugin-mirror sync\n');
  const progress = new SyncProgress(terminal as unknown as WriteStream, false);
  const frame = () => {
    terminal.written = '';
    mock.timers.tick(FRAME_MS);
    return terminal.shown();
  };
  progress.hear({ type: 'planned', fetch: 2, keep: 0, fail: 0, sizeBytes: 2 * MODULE });
  for (const key of ['sample-ai-statistics/2.0.1', 'sample-cors/1.0.0'])
    progress.hear({ type: 'started', key, sizeBytes: MODULE });
  return { terminal, progress, frame };
}

describe('the live part of a sync', () => {
  beforeEach(() => mock.timers.enable({ apis: ['setInterval'] }));
  afterEach(() => mock.timers.reset());

  it('has no row wider than the terminal, however narrow it is', t => {
    let now = performance.now();
    t.mock.method(performance, 'now', () => now);
    for (let columns = 8; columns <= 130; columns += 1) {
      const { progress, frame, terminal } = show(columns);
      now += 1000;
      progress.hear({ type: 'progress', key: 'sample-cors/1.0.0', receivedBytes: 12_345_678, sizeBytes: MODULE });
      frame();
      const lines = stripVTControlCharacters(terminal.written).trimEnd().split('\n');
      assert.equal(lines.length, 3, `${columns}: ${lines.join('|')}`);
      for (const line of lines) assert.ok(line.length < columns, `${columns}: ${line} has ${line.length}`);
      if (columns >= 30) assert.match(lines[1] ?? '', /^sam.* 12 MB \/ 15 MB/);
      if (columns >= 36) assert.match(lines[1] ?? '', / 12 MB\/s$/);
      if (columns >= 60) assert.match(lines[0] ?? '', /^sample-\S*tistics 2\.0\.1 /, 'the version is never cut');
      if (columns >= 60) assert.match(lines[1] ?? '', /^sample-cors 1\.0\.0 +━+─+ /);
      progress.stop();
    }
  });

  it('shows long names whole in a wide terminal', () => {
    const { progress, frame } = show(160);
    const name = 'a-plugin-with-quite-a-long-name-of-its-own';
    progress.hear({ type: 'started', key: `${name}/1.0.0`, sizeBytes: MODULE });
    progress.hear({ type: 'progress', key: `${name}/1.0.0`, receivedBytes: 1_000_000, sizeBytes: MODULE });
    assert.ok(frame().some(row => row.startsWith(`${name} 1.0.0 `)));
    progress.stop();
  });

  it('leaves no old rows above the new ones when the terminal becomes narrower, and wider again', () => {
    const { progress, frame, terminal } = show(100);
    const [first, ...rest] = frame();
    assert.deepEqual([first, rest.length], ['$ plugin-mirror sync', 3]);
    for (const columns of [40, 30, 100, 25, 60]) {
      terminal.columns = columns;
      const rows = frame();
      assert.equal(rows.length, 4, `${columns}: ${rows.join('|')}`);
      assert.equal(rows[0], '$ plugin-mirror sync');
      assert.match(rows[1] ?? '', /^sam/);
    }
    terminal.columns = 30;
    progress.stop();
    assert.deepEqual(terminal.shown(), ['$ plugin-mirror sync']);
  });
});

it('a run without downloads counts in one line of a terminal, and removes it', async () => {
  const written: string[] = [];
  const write = (text: string | Uint8Array): boolean => written.push(String(text)) > 0;
  const terminal = { isTTY: true, columns: 26, write } as const;
  const counter = startCounter('verifying', 'files', { stream: terminal, env: { TERM: 'xterm' } });
  counter.count(1, 1000);
  assert.deepEqual(written, [], 'a quick run needs none');
  await new Promise(resolve => setTimeout(resolve, 600));
  counter.count(2, 1000);
  counter.stop();
  counter.count(3, 1000);
  assert.deepEqual(written.splice(0), ['\r\u001b[2Kverifying 2 of 1000 files', '\r\u001b[2K']);
  const wide = { ...terminal, columns: 80 };
  const bytes = startCounter('verifying:', 'hashed', { stream: wide, env: {}, show: formatBytes });
  await new Promise(resolve => setTimeout(resolve, 600));
  bytes.count(2048, 3 * 1024 * 1024);
  bytes.stop();
  assert.deepEqual(written.splice(0), ['\r\u001b[2Kverifying: 2.0 KB of 3.1 MB hashed …', '\r\u001b[2K']);
  for (const options of [
    { stream: terminal, env: { TERM: 'dumb' } },
    { stream: { ...terminal, isTTY: false }, env: {} },
    { stream: terminal, env: {}, quiet: true },
  ]) {
    const silent = startCounter('verifying', 'files', options);
    await new Promise(resolve => setTimeout(resolve, 510));
    silent.count(1, 2);
    silent.stop();
  }
  assert.deepEqual(written, []);
});
