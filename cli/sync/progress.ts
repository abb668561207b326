import type { WriteStream } from 'node:tty';
import { stripVTControlCharacters } from 'node:util';
import { createLogUpdate } from 'log-update';
import pc from 'picocolors';
import { formatBytes, plural } from '../../base/words.ts';
import type { SyncEvent } from '../../mirror/session.ts';

const FRAME_MS = 80;
/** Lines kept for the total and for a line of news. */
const OTHER_LINES = 3;
/** `123 MB / 456 MB`, and ` 789 kB/s`; with some air around them where there is room. */
const NUMBERS_WIDTH = 15;
const SPEED_WIDTH = 9;
const AIR = 2;
/** A shorter name would be less useful than the speed. */
const LEAST_NAME = 6;
const USUAL_NAME = 12;
const MOST_NAME = 34;
/** A wide terminal has room for the longest name that was shown. */
const WIDE = 110;
const MOST_NAME_WIDE = 60;
const LEAST_BAR = 10;
const MOST_BAR = 24;

interface Row {
  receivedBytes: number;
  sizeBytes: number;
  readonly since: number;
  /** When the last byte came: the rate is that of the download, not of the work after it. */
  lastByteAt: number;
}

/** A shorter estimate would be over before it is read. */
const LEAST_ETA_SECONDS = 10;

/**
 * The live part of a sync on a terminal: one line for each running plugin with bytes and speed, and a total. It is drawn
 * twelve times a second and leaves nothing on the screen; the summary follows it.
 */
export class SyncProgress {
  readonly #stream: WriteStream;
  readonly #draw: ReturnType<typeof createLogUpdate>;
  readonly #paint: ReturnType<typeof pc.createColors>;
  readonly #rows = new Map<string, Row>();
  /** When the first version was started. */
  #started = 0;
  #timer: NodeJS.Timeout | undefined;
  #drawn: readonly string[] = [];
  #width = 0;
  /** The most characters of a name with its version: the columns do not move when a row leaves. */
  #longest = 0;
  #phase = 'reading the tree';
  #news = '';
  #versions = 0;
  #finished = 0;
  #sizeBytes = 0;
  #finishedBytes = 0;
  #receivedAny = false;

  constructor(stream: WriteStream, color: boolean) {
    this.#stream = stream;
    this.#draw = createLogUpdate(stream);
    this.#paint = pc.createColors(color);
    this.#timer = setInterval(() => this.#render(), FRAME_MS);
  }

  readonly hear = (event: SyncEvent): void => {
    if (event.type === 'waiting') this.#phase = event.message;
    if (event.type === 'asking') this.#phase = `asking for ${plural(event.versions, 'version')}`;
    if (event.type === 'answered') this.#phase = `asked for ${event.done} of ${plural(event.versions, 'version')}`;
    if (event.type === 'compressing') this.#phase = `compressing ${plural(event.versions, 'module')}`;
    if (event.type === 'planned') this.#plan(event.fetch + event.keep + event.fail, event.sizeBytes);
    if (event.type === 'started') this.#start(event.key, event.sizeBytes);
    if (event.type === 'progress') this.#advance(event.key, event.receivedBytes);
    // Aliases are not among the planned versions.
    if (event.type === 'finished' && event.outcome.aliasOf === undefined)
      this.#finish(`${event.outcome.name}/${event.outcome.version}`);
    if (event.type === 'retry')
      this.#news = `${event.subject}: ${event.reason}; again in ${(event.delayMs / 1000).toFixed(1)} s`;
  };

  /** Removes the live part from the screen and shows the cursor again. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#wipeIfNarrower(columnsOf(this.#stream));
    this.#draw.clear();
    this.#draw.done();
  }

  #plan(versions: number, sizeBytes: number): void {
    this.#phase = '';
    this.#versions = versions;
    this.#sizeBytes = sizeBytes;
  }

  #start(key: string, sizeBytes: number): void {
    const now = performance.now();
    if (this.#started === 0) this.#started = now;
    this.#longest = Math.max(this.#longest, key.length);
    this.#rows.set(key, { receivedBytes: 0, sizeBytes, since: now, lastByteAt: now });
  }

  #advance(key: string, receivedBytes: number): void {
    const row = this.#rows.get(key);
    if (row === undefined) return;
    if (receivedBytes > row.receivedBytes) row.lastByteAt = performance.now();
    row.receivedBytes = receivedBytes;
    this.#receivedAny = true;
  }

  #finish(key: string): void {
    this.#finished += 1;
    this.#finishedBytes += this.#rows.get(key)?.sizeBytes ?? 0;
    this.#rows.delete(key);
  }

  #render(): void {
    const width = columnsOf(this.#stream);
    const room = Math.max(1, (this.#stream.rows || 24) - OTHER_LINES);
    const rows = [...this.#rows].slice(0, room).map(([key, row]) => this.#renderRow(key, row, width - 1));
    const news = this.#news === '' ? [] : [this.#paint.dim(fit(this.#news, width - 1))];
    this.#wipeIfNarrower(width);
    this.#drawn = [...rows, ...news, this.#renderTotal(width)];
    this.#width = width;
    this.#draw(this.#drawn.join('\n'));
  }

  /**
   * A terminal that became narrower has wrapped the drawn lines into more rows, which all have to be removed. (A few
   * terminals cut lines off instead; there, rows above are removed as well.)
   */
  #wipeIfNarrower(width: number): void {
    if (width >= this.#width || this.#drawn.length === 0) return;
    const lengths = this.#drawn.map(line => stripVTControlCharacters(line).length);
    const rows = lengths.reduce((sum, length) => sum + Math.max(1, Math.ceil(length / width)), 0);
    this.#stream.write(`\u001b[${rows}A\r\u001b[J`);
    this.#drawn = [];
    this.#draw.done();
  }

  /** In a narrow terminal the bar goes first, then the end of the name, then the speed. */
  #renderRow(key: string, row: Row, width: number): string {
    const most = width < WIDE ? MOST_NAME : Math.max(MOST_NAME, Math.min(MOST_NAME_WIDE, this.#longest));
    const phase = phaseOf(row);
    if (phase !== undefined) {
      const nameWidth = Math.min(most, Math.max(LEAST_NAME, width - phase.length - 1));
      return fit(`${fitVersion(key, nameWidth).padEnd(nameWidth)} ${phase}`, width);
    }
    const seconds = (row.lastByteAt - row.since) / 1000;
    const air = width > USUAL_NAME + NUMBERS_WIDTH + SPEED_WIDTH + 2 * AIR ? AIR : 0;
    const numbers = `${formatBytes(row.receivedBytes)} / ${formatBytes(row.sizeBytes)}`.padStart(NUMBERS_WIDTH + air);
    const speed = (seconds > 0.2 ? `${formatBytes(row.receivedBytes / seconds)}/s` : '').padStart(SPEED_WIDTH + air);
    const room = width - 1 - numbers.length - speed.length;
    if (room < LEAST_NAME) {
      const nameWidth = Math.max(0, width - 1 - numbers.length);
      return fit(`${fitVersion(key, nameWidth).padEnd(nameWidth)} ${numbers}`, width);
    }
    const nameWidth = Math.min(most, Math.max(Math.min(USUAL_NAME, room), room - LEAST_BAR));
    const name = fitVersion(key, nameWidth).padEnd(nameWidth);
    const bar = this.#bar(row.receivedBytes, row.sizeBytes, Math.min(MOST_BAR, room - nameWidth));
    return `${name} ${bar}${numbers}${speed}`;
  }

  #renderTotal(width: number): string {
    if (this.#phase !== '') return this.#paint.dim(fit(`${this.#phase} …`, width - 1));
    const running = [...this.#rows.values()].reduce((sum, row) => sum + Math.min(row.receivedBytes, row.sizeBytes), 0);
    const received = Math.min(this.#finishedBytes + running, this.#sizeBytes);
    const rate = this.#receivedAny ? received / Math.max(0.001, (performance.now() - this.#started) / 1000) : 0;
    const seconds = rate === 0 ? 0 : (this.#sizeBytes - received) / rate;
    const unpacking = [...this.#rows.values()].filter(isReceived).length;
    const parts = [
      `${this.#finished}/${plural(this.#versions, 'version')}`,
      `${formatBytes(received)} of ${formatBytes(this.#sizeBytes)}`,
      ...(rate === 0 ? [] : [`${formatBytes(rate)}/s`]),
      ...(seconds < LEAST_ETA_SECONDS ? [] : [`${duration(seconds)} left`]),
      ...(unpacking === 0 ? [] : [`${unpacking} unpacking`]),
    ];
    return this.#paint.bold(fit(parts.join('  '), width - 1));
  }

  #bar(done: number, of: number, width: number): string {
    if (width < 4) return '';
    const filled = of === 0 ? width : Math.min(width, Math.floor((done / of) * width));
    return this.#paint.green('━'.repeat(filled)) + this.#paint.dim('─'.repeat(width - filled));
  }
}

function isReceived({ receivedBytes, sizeBytes }: Row): boolean {
  return receivedBytes > 0 && receivedBytes >= sizeBytes;
}

/** Returns the phase of a version of which no byte arrives; undefined during its download. */
function phaseOf(row: Row): string | undefined {
  if (isReceived(row)) return 'unpacking and hashing';
  return row.receivedBytes === 0 ? 'waiting' : undefined;
}

/** Returns `NAME VERSION`. Where that is too long, the middle of the name is left out, and the version is kept while it fits. */
function fitVersion(key: string, width: number): string {
  const slash = key.indexOf('/');
  const [name, version] = [key.slice(0, slash), key.slice(slash + 1)];
  const room = width - version.length - 1;
  return room < LEAST_NAME ? fit(`${name} ${version}`, width) : `${fitMiddle(name, room)} ${version}`;
}

function fitMiddle(text: string, width: number): string {
  if (text.length <= width) return text;
  const end = Math.floor((width - 1) / 2);
  return `${text.slice(0, width - 1 - end)}…${text.slice(text.length - end)}`;
}

function duration(seconds: number): string {
  return seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

function columnsOf(stream: WriteStream): number {
  return stream.columns || 80;
}

function fit(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`.slice(0, Math.max(1, width));
}
