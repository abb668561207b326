import { setTimeout as wait } from 'node:timers/promises';
import { printableJsonText } from '../../base/printable.ts';
import type { AnswerReport } from '../http/answer.ts';

const FLUSH_BYTES = 64 * 1024;
const FLUSH_MS = 1000;
const MAX_WAITING_BYTES = 4 * 1024 * 1024;
/** How long a stop waits for the reader of the log. */
const CLOSE_MS = 1000;
/** Of a request line of up to 16 KiB. */
const MAX_FIELD_LENGTH = 2048;

export interface AccessLogSettings {
  /** `json` leaves out successful health checks, `errors` all successful answers. */
  readonly kind: 'all' | 'json' | 'errors';
  /** Writes text to the log's destination. Called again only after the returned promise has resolved. */
  readonly write: (text: string) => Promise<void>;
}

/**
 * Writes one JSON line per answer. Lines are collected and written in batches, one write at a time. If the destination does
 * not take them, lines are dropped and counted; memory and downloads are not affected.
 */
export class AccessLog {
  readonly #settings: AccessLogSettings;
  #lines = '';
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #dropped = 0;
  #second = 0;
  #time = '';

  constructor(settings: AccessLogSettings) {
    this.#settings = settings;
  }

  get droppedLines(): number {
    return this.#dropped;
  }

  add(report: AnswerReport): void {
    const { kind } = this.#settings;
    const isFailed = report.status >= 400 || !report.complete;
    if (isFailed || kind === 'all' || (kind === 'json' && !report.isProbe)) this.#append(this.#line(report));
  }

  /** For a request that could not be parsed: its method and its path are unknown. */
  addUnreadable(status: number, client: string): void {
    this.#append(
      `{"time":"${this.#now()}","client":${quote(client)},"status":${status},"bytes":0,"unreadable":true}\n`,
    );
  }

  /** Writes the remaining lines, as far as their reader takes them in time: it may have stopped for good. */
  async close(): Promise<void> {
    const isOver = new AbortController();
    const overdue = wait(CLOSE_MS, true, { signal: isOver.signal }).catch(() => true);
    while (this.#lines !== '' || this.#writing !== undefined) {
      this.#flush();
      if ((await Promise.race([this.#writing, overdue])) === true) break;
    }
    isOver.abort();
  }

  #append(line: string): void {
    if (this.#lines.length > MAX_WAITING_BYTES) {
      this.#dropped++;
      return;
    }
    this.#lines += line;
    if (this.#lines.length >= FLUSH_BYTES) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS);
  }

  #now(): string {
    const ms = Date.now();
    const second = Math.floor(ms / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#time = new Date(second * 1000).toISOString().slice(0, 19);
    }
    return `${this.#time}.${String(ms % 1000).padStart(3, '0')}Z`;
  }

  #line({ request, path, file, status, sentBytes, durationMs, complete, client }: AnswerReport): string {
    const plugin = file?.plugin === undefined ? '' : `,"plugin":"${file.plugin}","version":"${file.version}"`;
    const agent = request.headers['user-agent'];
    const userAgent = agent === undefined ? '' : `,"userAgent":${quote(agent)}`;
    const cut = complete ? '' : ',"complete":false';
    return `{"time":"${this.#now()}","client":${quote(client)},"method":"${request.method}","url":${quote(path)},"status":${status},"bytes":${sentBytes},"durationMs":${durationMs.toFixed(2)}${plugin}${userAgent}${cut}}\n`;
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#writing !== undefined || this.#lines === '') return;
    const text = this.#lines;
    this.#lines = '';
    this.#writing = this.#settings
      .write(text)
      .catch(() => {
        this.#dropped += text.split('\n').length - 1; // only the metric can report it
      })
      .finally(() => {
        this.#writing = undefined;
        if (this.#lines !== '') this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS);
      });
  }
}

/** Without `#`, with which commands of CI services begin. */
const PLAIN = /^[\x20\x21\x24-\x5b\x5d-\x7e]*$/;

function quote(text: string): string {
  const short = text.length > MAX_FIELD_LENGTH ? text.slice(0, MAX_FIELD_LENGTH) : text;
  return PLAIN.test(short) ? `"${short}"` : printableJsonText(JSON.stringify(short));
}
