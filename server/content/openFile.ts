import { type BigIntStats, close, constants, fstat, open, read, readFileSync, realpath } from 'node:fs';
import { sep } from 'node:path';
import { promisify } from 'node:util';
import { errno, isAbsent, isForbidden } from '../../base/errno.ts';
import type { Fault } from '../events.ts';

/** Where the system has no /proc, for example on macOS: the limit that most systems start processes with. */
const USUAL_LIMIT = 1024;
const MAX_OPEN_FILES = 512;
/** Standard streams, event loop, listening socket, the files of the program itself, and reserves for reloads. */
const OTHER_DESCRIPTORS = 32;
/** Files that are read by running downloads stay open when others take their place. */
const RESERVE_FOR_READERS = 2;

const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
const openAsync = promisify(open);
const closeAsync = promisify(close);
const realpathAsync = promisify(realpath.native);
const fstatAsync = promisify<number, { bigint: true }, BigIntStats>(fstat);

/** Returns the fault that an error of open(2), realpath(3) or read(2) stands for. */
export function faultOf(error: unknown): Fault {
  if (isAbsent(error)) return 'gone';
  if (isForbidden(error)) return 'forbidden';
  // ELOOP: O_NOFOLLOW met a link. ENXIO: a socket.
  return ['ELOOP', 'ENXIO'].includes(errno(error) ?? '') ? 'no-file' : 'unreadable';
}

/** Identifies a file and its state. Changes with a rename over the path and with a write in place; an mtime alone may not. */
export interface FileIdentity {
  readonly device: bigint;
  readonly inode: bigint;
  readonly changedNs: bigint;
  readonly modifiedNs: bigint;
  readonly sizeBytes: number;
}

/** Whether the process or the system has no descriptor left for another file: no fault of the file. */
export function isOutOfDescriptors(error: unknown): boolean {
  return ['EMFILE', 'ENFILE'].includes(errno(error) ?? '');
}

/** The result of an open that failed. */
export interface Unopened {
  readonly fault: Fault;
  /** What exists at the path instead, if anything does. */
  readonly identity: FileIdentity | undefined;
}

/**
 * An open file shared by several readers. The descriptor is closed after the owner and the last read have released it, so
 * that no read ever uses a descriptor number that has been reused for another file.
 */
export class OpenFile {
  readonly identity: FileIdentity;
  readonly #descriptor: number;
  readonly #start: number;
  #users = 1;

  private constructor(descriptor: number, identity: FileIdentity, start: number) {
    this.#descriptor = descriptor;
    this.identity = identity;
    this.#start = start;
  }

  /**
   * Opens a regular file of exactly `sizeBytes` below `root`, which must be a real path. Does not follow a link in the last
   * part of `path`, and refuses a path that leads out of `root`. Returns the fault if no such file can be opened. With
   * `start`, only the `sizeBytes` from there are read, of a file that may be larger: a blob in a bundle. Throws if the
   * process has no descriptor left.
   */
  static async open(root: string, path: string, sizeBytes: number, start?: number): Promise<OpenFile | Unopened> {
    const full = `${root}/${path}`;
    let descriptor: number;
    try {
      const real = await realpathAsync(full);
      if (!real.startsWith(root.endsWith(sep) ? root : root + sep)) return { fault: 'no-file', identity: undefined };
      descriptor = await openAsync(full, FLAGS);
    } catch (error) {
      if (isOutOfDescriptors(error)) throw error;
      return { fault: faultOf(error), identity: undefined };
    }
    const stats = await fstatAsync(descriptor, { bigint: true }).catch(() => undefined);
    const isOfSize = (size: number): boolean => (start === undefined ? size === sizeBytes : size >= start + sizeBytes);
    if (stats?.isFile() === true && isOfSize(Number(stats.size)))
      return new OpenFile(descriptor, identityOf(stats), start ?? 0);
    await closeAsync(descriptor);
    if (stats === undefined) return { fault: 'unreadable', identity: undefined };
    return { fault: stats.isFile() ? 'altered' : 'no-file', identity: identityOf(stats) };
  }

  retain(): void {
    this.#users++;
  }

  /** Closes the file when nothing uses it any more. */
  release(): void {
    if (--this.#users === 0) close(this.#descriptor, () => {});
  }

  /** Fills the first `length` bytes of `buffer` from `position`. Reports an error if the file ends before that. */
  read(buffer: Buffer, length: number, position: number, done: (error: Error | undefined) => void): void {
    this.retain();
    let filled = 0;
    const next = (error: NodeJS.ErrnoException | null, bytes: number): void => {
      filled += bytes;
      if (error === null && filled < length && bytes > 0) {
        read(this.#descriptor, buffer, filled, length - filled, this.#start + position + filled, next);
        return;
      }
      this.release();
      done(error ?? (filled < length ? new Error('The file is shorter than it was') : undefined));
    };
    read(this.#descriptor, buffer, 0, length, this.#start + position, next);
  }

  /** Returns whether the open file still has its size and mtime. (Its ctime changes when another file takes its name.) */
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

export interface DescriptorPlan {
  readonly limit: number;
  /** Files of the tree that stay open between downloads. */
  readonly openFiles: number;
  readonly connections: number;
}

/** Returns the limit of open files of this process (RLIMIT_NOFILE). */
export function descriptorLimit(): number {
  try {
    const found = /^Max open files +(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return found === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(found ?? USUAL_LIMIT);
  } catch {
    return USUAL_LIMIT;
  }
}

/** Divides the descriptors of a process: files take at most a third, connections what is left. */
export function planDescriptors(limit: number, maxConnections: number): DescriptorPlan {
  const third = Math.floor(limit / 3);
  const openFiles = Math.max(1, Math.min(MAX_OPEN_FILES, Math.floor(third / RESERVE_FOR_READERS)));
  const others = Math.min(OTHER_DESCRIPTORS, third);
  const connections = Math.max(1, Math.min(maxConnections, limit - third - others));
  return { limit, openFiles, connections };
}
