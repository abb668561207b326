import type { Answered } from '../http/answer.ts';

const FLUSH_BYTES = 64 * 1024;
const FLUSH_MS = 1000;
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

export interface AccessLogSettings {
  /** Writes text where the log goes; the next is written when this is done. */
  readonly write: (text: string) => Promise<void>;
  /** Of answers below 400, one in so many is logged; 0: none. */
  readonly sampleEvery: number;
}

/**
 * One JSON line per answer, gathered and written in batches, one write at a time: a line costs a request next to nothing,
 * and a reader of the log who stalls costs lines (counted), never memory or downloads.
 */
export class AccessLog {
  readonly #settings: AccessLogSettings;
  #lines = '';
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #seen = 0;
  #dropped = 0;
  #second = 0;
  #time = '';

  constructor(settings: AccessLogSettings) {
    this.#settings = settings;
  }

  get droppedLines(): number {
    return this.#dropped;
  }

  add(answered: Answered): void {
    const { status, complete } = answered;
    const { sampleEvery } = this.#settings;
    if (status < 400 && complete && (sampleEvery === 0 || this.#seen++ % sampleEvery !== 0)) return;
    this.#append(this.#line(answered));
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

  /** A request that could not be read: neither its method nor its path is known. */
  addUnreadable(status: number, client: string): void {
    this.#append(
      `{"time":"${this.#now()}","client":${quote(client)},"status":${status},"bytes":0,"unreadable":true}\n`,
    );
  }

  /** Writes what is left. */
  async close(): Promise<void> {
    while (this.#lines !== '' || this.#writing !== undefined) {
      this.#flush();
      await this.#writing;
    }
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

  #line({ request, path, file, status, sentBytes, durationMs, complete, client }: Answered): string {
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
        this.#dropped += text.split('\n').length - 1; // nowhere to say it but in the metric
      })
      .finally(() => {
        this.#writing = undefined;
        if (this.#lines !== '') this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS);
      });
  }
}

const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** At most 2 KiB of it: a request line may be 16 KiB long. */
function quote(text: string): string {
  const short = text.length > 2048 ? text.slice(0, 2048) : text;
  return PLAIN.test(short) ? `"${short}"` : JSON.stringify(short);
}
