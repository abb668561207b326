import process from 'node:process';
import { printable } from '../../base/printable.ts';
import { Refusal } from '../../base/refusal.ts';
import { exitCodeOf } from '../exit.ts';
import { printError, printLogLine } from '../render/print.ts';
import type { ServeFlags } from './options.ts';

const LEVELS = ['error', 'warn', 'info'] as const;
export type LogLevel = (typeof LEVELS)[number];

/** The messages of `serve` on stderr, as lines of text or of JSON. */
export class ServeLog {
  readonly #isJson: boolean;
  readonly #leastLevel: LogLevel;

  constructor({ logFormat, logLevel }: Pick<ServeFlags, 'logFormat' | 'logLevel'>) {
    this.#isJson = logFormat === 'json' || (logFormat === 'auto' && !process.stderr.isTTY);
    this.#leastLevel = logLevel;
  }

  write(level: LogLevel, message: string): void {
    if (LEVELS.indexOf(level) > LEVELS.indexOf(this.#leastLevel)) return;
    if (this.#isJson) this.#writeJson({ level, message });
    else printError(`plugin-mirror: ${printable(message)}\n`);
  }

  /** Sets the exit code and writes the error that ends the command as JSON. Rethrows it if the format is text. */
  fail(error: unknown): void {
    if (!this.#isJson) throw error;
    process.exitCode = exitCodeOf(error);
    if (!(error instanceof Refusal)) {
      this.#writeJson({
        level: 'error',
        message: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
      return;
    }
    const { code, message, subject, expected, found, hint } = error;
    this.#writeJson({ level: 'error', code, message, subject, expected, found, hint });
  }

  #writeJson(fields: Readonly<Record<string, string | undefined>>): void {
    printLogLine({ time: new Date().toISOString(), ...fields });
  }
}
