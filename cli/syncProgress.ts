import type { WriteStream } from 'node:tty';
import { createLogUpdate } from 'log-update';
import pc from 'picocolors';
import type { SyncEvent } from '../mirror/events.ts';
import { formatBytes } from './format.ts';

const FRAME_MS = 80;
/** Lines kept for the total and for a line of news. */
const OTHER_LINES = 3;

interface Row {
  receivedBytes: number;
  sizeBytes: number;
  readonly since: number;
}

/**
 * The live part of a sync on a terminal: one line per running plugin with bytes and speed, and a total. It redraws itself
 * twelve times a second and leaves nothing behind; the summary that follows it is what stays.
 */
export class SyncProgress {
  readonly #stream: WriteStream;
  readonly #draw: ReturnType<typeof createLogUpdate>;
  readonly #paint: ReturnType<typeof pc.createColors>;
  readonly #rows = new Map<string, Row>();
  readonly #started = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #phase = 'reading the tree';
  #news = '';
  #versions = 0;
  #finished = 0;
  #sizeBytes = 0;
  #finishedBytes = 0;

  constructor(stream: WriteStream, color: boolean) {
    this.#stream = stream;
    this.#draw = createLogUpdate(stream);
    this.#paint = pc.createColors(color);
    this.#timer = setInterval(() => this.#render(), FRAME_MS);
  }

  readonly hear = (event: SyncEvent): void => {
    if (event.type === 'waiting') this.#phase = event.message;
    if (event.type === 'asking') this.#phase = `asking for ${event.versions} versions`;
    if (event.type === 'compressing') this.#phase = `compressing ${event.versions} modules`;
    if (event.type === 'planned') this.#plan(event.fetch + event.keep + event.fail, event.sizeBytes);
    if (event.type === 'started')
      this.#rows.set(event.key, { receivedBytes: 0, sizeBytes: event.sizeBytes, since: performance.now() });
    if (event.type === 'progress') this.#advance(event.key, event.receivedBytes);
    // An alias is none of the planned versions: it takes no time.
    if (event.type === 'finished' && event.outcome.aliasOf === undefined)
      this.#finish(`${event.outcome.name}/${event.outcome.version}`);
    if (event.type === 'retry')
      this.#news = `${event.subject}: ${event.reason}; again in ${(event.delayMs / 1000).toFixed(1)} s`;
  };

  /** Takes the live part off the screen and gives the cursor back. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#draw.clear();
    this.#draw.done();
  }

  #plan(versions: number, sizeBytes: number): void {
    this.#phase = '';
    this.#versions = versions;
    this.#sizeBytes = sizeBytes;
  }

  #advance(key: string, receivedBytes: number): void {
    const row = this.#rows.get(key);
    if (row !== undefined) row.receivedBytes = receivedBytes;
  }

  #finish(key: string): void {
    this.#finished += 1;
    this.#finishedBytes += this.#rows.get(key)?.sizeBytes ?? 0;
    this.#rows.delete(key);
  }

  #render(): void {
    const width = this.#stream.columns || 80;
    const room = Math.max(1, (this.#stream.rows || 24) - OTHER_LINES);
    const rows = [...this.#rows].slice(0, room).map(([key, row]) => this.#renderRow(key, row, width));
    const news = this.#news === '' ? [] : [this.#paint.dim(fit(this.#news, width - 1))];
    this.#draw([...rows, ...news, this.#renderTotal(width)].join('\n'));
  }

  #renderRow(key: string, row: Row, width: number): string {
    const seconds = (performance.now() - row.since) / 1000;
    const speed = seconds > 0.2 ? `${formatBytes(row.receivedBytes / seconds)}/s` : '';
    const numbers =
      `${formatBytes(row.receivedBytes)} / ${formatBytes(row.sizeBytes)}`.padStart(17) + speed.padStart(11);
    const nameWidth = Math.min(34, Math.max(12, width - 52));
    const name = fit(key.replace('/', ' '), nameWidth).padEnd(nameWidth);
    return `${name} ${this.#bar(row.receivedBytes, row.sizeBytes, Math.min(24, width - nameWidth - 32))}${numbers}`;
  }

  #renderTotal(width: number): string {
    if (this.#phase !== '') return this.#paint.dim(fit(`${this.#phase} …`, width - 1));
    const seconds = (performance.now() - this.#started) / 1000;
    const running = [...this.#rows.values()].reduce((sum, row) => sum + Math.min(row.receivedBytes, row.sizeBytes), 0);
    const received = Math.min(this.#finishedBytes + running, this.#sizeBytes);
    const text = `${this.#finished}/${this.#versions} versions  ${formatBytes(received)} of ${formatBytes(this.#sizeBytes)}  ${formatBytes(received / seconds)}/s`;
    return this.#paint.bold(fit(text, width - 1));
  }

  #bar(done: number, of: number, width: number): string {
    if (width < 4) return '';
    const filled = of === 0 ? width : Math.min(width, Math.floor((done / of) * width));
    return this.#paint.green('━'.repeat(filled)) + this.#paint.dim('─'.repeat(width - filled));
  }
}

function fit(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(1, width - 1))}…`;
}
