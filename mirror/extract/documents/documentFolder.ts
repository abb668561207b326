import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { contentProblem, MAX_DOCUMENTS } from './documentRules.ts';

/**
 * The folder beside plugin.wasm that an image's documents are written to, wherever in the image they come from. A document that
 * does not fit is left out with a warning: it is no reason to go without the plugin.
 */
export class DocumentFolder {
  readonly files: Record<string, { sha256: string; sizeBytes: number }> = {};
  readonly warnings: string[] = [];
  readonly #dir: string;
  readonly #subject: string;
  readonly #taken = new Set<string>();

  /** @param dir an existing folder @param subject what warnings are about, e.g. `ai-proxy 2.0.1` */
  constructor(dir: string, subject: string) {
    this.#dir = dir;
    this.#subject = subject;
  }

  has(file: string): boolean {
    // Two names that differ in case only would be one file on many disks.
    return this.#taken.has(file.toLowerCase());
  }

  get isFull(): boolean {
    return this.#taken.size >= MAX_DOCUMENTS;
  }

  /** Warns that a document is left out. `place` says which: a layer, or an archive's number. */
  skip(file: string, why: string, place: string): void {
    this.warn(`${file} is left out: ${why} (${place})`);
  }

  warn(text: string): void {
    this.warnings.push(`${this.#subject}: ${text}`);
  }

  /** Writes a document, as it is stored, under a name from documentFile that `has` does not know. */
  async write(file: string, bytes: Buffer, place: string, signal: AbortSignal): Promise<void> {
    const problem = contentProblem(file, bytes);
    if (problem !== undefined) return this.skip(file, problem, place);
    this.#taken.add(file.toLowerCase());
    await writeFile(join(this.#dir, file), bytes, { flag: 'wx', mode: 0o644, signal });
    this.files[file] = { sha256: createHash('sha256').update(bytes).digest('hex'), sizeBytes: bytes.length };
  }
}
