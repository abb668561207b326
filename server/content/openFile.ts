import { type BigIntStats, close, constants, fstat, open, read, realpath } from 'node:fs';
import { sep } from 'node:path';
import { promisify } from 'node:util';
import { type Fault, faultOf } from '../fault.ts';

const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
const openAsync = promisify(open);
const closeAsync = promisify(close);
const realpathAsync = promisify(realpath.native);
const fstatAsync = promisify<number, { bigint: true }, BigIntStats>(fstat);

/** Which file this is, and in which state: what a rename and what a write in place change. An mtime alone tells neither. */
export interface FileIdentity {
  readonly device: bigint;
  readonly inode: bigint;
  readonly changedNs: bigint;
  readonly modifiedNs: bigint;
  readonly sizeBytes: number;
}

/** Why there is no such file to be opened, and which one lies there instead, if one does. */
export interface Unopened {
  readonly fault: Fault;
  readonly identity: FileIdentity | undefined;
}

/**
 * An open file that several readers share. It is closed when its owner has let go of it and the last read has ended, so
 * that no read ever meets a descriptor that belongs to another file by now.
 */
export class OpenFile {
  readonly identity: FileIdentity;
  readonly #descriptor: number;
  #users = 1;

  private constructor(descriptor: number, identity: FileIdentity) {
    this.#descriptor = descriptor;
    this.identity = identity;
  }

  /**
   * Opens a regular file of this size below `root` (a real path). A link in its last part is not followed, one that leads
   * out of `root` is refused. Answers what is the matter where there is no such file.
   */
  static async open(root: string, path: string, sizeBytes: number): Promise<OpenFile | Unopened> {
    const full = `${root}/${path}`;
    let descriptor: number;
    try {
      const real = await realpathAsync(full);
      if (!real.startsWith(root.endsWith(sep) ? root : root + sep)) return { fault: 'no-file', identity: undefined };
      descriptor = await openAsync(full, FLAGS);
    } catch (error) {
      return { fault: faultOf(error), identity: undefined };
    }
    const stats = await fstatAsync(descriptor, { bigint: true }).catch(() => undefined);
    if (stats?.isFile() === true && Number(stats.size) === sizeBytes)
      return new OpenFile(descriptor, identityOf(stats));
    await closeAsync(descriptor);
    if (stats === undefined) return { fault: 'unreadable', identity: undefined };
    return { fault: stats.isFile() ? 'altered' : 'no-file', identity: identityOf(stats) };
  }

  retain(): void {
    this.#users++;
  }

  /** The last one out closes the file. */
  release(): void {
    if (--this.#users === 0) close(this.#descriptor, () => {});
  }

  /** Fills `buffer` up to `length` from `position`; fewer bytes are an error, for the size is known. */
  read(buffer: Buffer, length: number, position: number, done: (error: Error | undefined) => void): void {
    this.retain();
    let filled = 0;
    const next = (error: NodeJS.ErrnoException | null, bytes: number): void => {
      filled += bytes;
      if (error === null && filled < length && bytes > 0) {
        read(this.#descriptor, buffer, filled, length - filled, position + filled, next);
        return;
      }
      this.release();
      done(error ?? (filled < length ? new Error('The file is shorter than it was') : undefined));
    };
    read(this.#descriptor, buffer, 0, length, position, next);
  }

  /** True if what was opened still has the size and the mtime it had. (Its ctime moves when another file takes its name.) */
  async isUntouched(): Promise<boolean> {
    this.retain();
    try {
      const stats = await fstatAsync(this.#descriptor, { bigint: true });
      return stats.mtimeNs === this.identity.modifiedNs && Number(stats.size) === this.identity.sizeBytes;
    } catch {
      return false;
    } finally {
      this.release();
    }
  }
}

export function identityOf(stats: BigIntStats): FileIdentity {
  return {
    device: stats.dev,
    inode: stats.ino,
    changedNs: stats.ctimeNs,
    modifiedNs: stats.mtimeNs,
    sizeBytes: Number(stats.size),
  };
}

export function sameIdentity(a: FileIdentity | undefined, b: FileIdentity | undefined): boolean {
  return (
    a !== undefined &&
    b !== undefined &&
    a.device === b.device &&
    a.inode === b.inode &&
    a.changedNs === b.changedNs &&
    a.sizeBytes === b.sizeBytes
  );
}
