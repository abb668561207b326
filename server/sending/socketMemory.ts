import { openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';

/** The part of the container's memory that the kernel may hold for clients. */
const SHARE = 1 / 4;
/** memory.stat has 1.5 to 3 KiB. */
const STAT_BYTES = 16 * 1024;

/**
 * Limits what the kernel holds of answers that clients have not taken yet. With cgroup v2 these buffers count as memory of the
 * container: 600 clients that read nothing, with 0.2 to 4 MiB for each, end a server whose limit is 256 MiB. Node.js cannot
 * limit the send buffer of a socket, so the server stops writing while all sockets together hold a quarter of the limit.
 *
 * The kernel is asked only after the server has written as much as there was room for.
 */
export class SocketMemory {
  readonly #heldBytes: () => number;
  readonly #limitBytes: number;
  /** What was free when the kernel was asked, less what it has taken since then. */
  #freeBytes: number;
  /** What has been written and the kernel has not taken as a whole: it takes more as soon as it enlarges a buffer. */
  #pendingBytes = 0;

  /** @param heldBytes returns what all sockets hold. @param limitBytes Infinity: there is no limit, and nothing is asked */
  constructor(heldBytes: () => number, limitBytes: number) {
    this.#heldBytes = heldBytes;
    this.#limitBytes = limitBytes;
    this.#freeBytes = limitBytes;
  }

  get isLimited(): boolean {
    return this.#limitBytes !== Number.POSITIVE_INFINITY;
  }

  /** Whether the server may write to a client. */
  hasRoom(): boolean {
    if (this.#freeBytes <= this.#pendingBytes) this.#freeBytes = this.#limitBytes - this.#heldBytes();
    return this.#freeBytes > this.#pendingBytes;
  }

  /** To be called with what is written; and taken() when the kernel has all of it, or the connection has ended. */
  write(bytes: number): void {
    this.#pendingBytes += bytes;
  }

  taken(bytes: number): void {
    this.#pendingBytes -= bytes;
    this.spend(bytes);
  }

  /** To be called with what is written without waiting for the kernel. */
  spend(bytes: number): void {
    this.#freeBytes -= bytes;
  }
}

export const UNLIMITED = new SocketMemory(() => 0, Number.POSITIVE_INFINITY);

/**
 * Returns the limit of this container: a quarter of `memory.max` of its cgroup (Linux, cgroup-v2.rst, "memory.stat": sock).
 * Without cgroup v2 or without a limit there, the buffers are not counted against this process, and nothing is limited.
 * @param cgroups where the file system of cgroup v2 is mounted
 */
export function socketMemoryOfContainer(cgroups = '/sys/fs/cgroup', self = '/proc/self/cgroup'): SocketMemory {
  try {
    const path = /^0::(\/.*)$/m.exec(readFileSync(self, 'utf8'))?.[1] ?? '/';
    const folder = join(cgroups, path);
    const most = Number(readFileSync(join(folder, 'memory.max'), 'utf8')); // NaN for "max"
    if (!(most > 0)) return UNLIMITED;
    const file = openSync(join(folder, 'memory.stat'), 'r');
    const buffer = Buffer.allocUnsafe(STAT_BYTES);
    const heldBytes = (): number => {
      const length = readSync(file, buffer, 0, STAT_BYTES, 0);
      return Number(/^sock (\d+)$/m.exec(buffer.toString('latin1', 0, length))?.[1] ?? 0);
    };
    heldBytes();
    return new SocketMemory(heldBytes, most * SHARE);
  } catch {
    return UNLIMITED; // no cgroup v2
  }
}
