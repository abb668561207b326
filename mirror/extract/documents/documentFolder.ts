import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { contentProblem, MAX_DOCUMENTS } from '../layers/documentNames.ts';

/**
 * The staging folder of a version, as far as its documents are concerned. A document that cannot be published is left out with
 * a warning; the plugin is published without it.
 */
export class DocumentFolder {
  readonly files: Record<string, { sha256: string; sizeBytes: number }> = {};
  readonly #warnings: string[] = [];
  /** Documents that are left out without a warning of their own. */
  #unnamed = 0;
  readonly #dir: string;
  readonly #subject: string;
  readonly #taken = new Set<string>();

  /** @param dir an existing folder @param subject the start of every warning, e.g. `ai-proxy 2.0.1` */
  constructor(dir: string, subject: string) {
    this.#dir = dir;
    this.#subject = subject;
  }

  has(file: string): boolean {
    // Two names that differ only in case would be one file on many disks.
    return this.#taken.has(file.toLowerCase());
  }

  get isFull(): boolean {
    return this.#taken.size >= MAX_DOCUMENTS;
  }

  get warnings(): readonly string[] {
    const more = `${this.#subject}: ${this.#unnamed} more documents are left out`;
    return this.#unnamed === 0 ? this.#warnings : [...this.#warnings, more];
  }

  /** Warns that a document is left out. `source` is the layer or the archive that has it. An image may have thousands. */
  skip(file: string, why: string, source: string): void {
    if (this.#warnings.length >= MAX_WARNINGS) this.#unnamed++;
    else this.warn(`${file} is left out: ${why} (${source})`);
  }

  warn(text: string): void {
    this.#warnings.push(`${this.#subject}: ${text}`);
  }

  /** Writes a document as it is stored. `file` must come from documentFile, and `has` must be false for it. */
  async write(file: string, bytes: Buffer, source: string, signal: AbortSignal): Promise<void> {
    const problem = contentProblem(file, bytes);
    if (problem !== undefined) return this.skip(file, problem, source);
    this.#taken.add(file.toLowerCase());
    await writeFile(join(this.#dir, file), bytes, { flag: 'wx', mode: 0o644, signal });
    this.files[file] = { sha256: createHash('sha256').update(bytes).digest('hex'), sizeBytes: bytes.length };
  }
}

const MAX_WARNINGS = 20;
