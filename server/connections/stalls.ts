import { readFile } from 'node:fs/promises';
import { isIPv4, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';

/** How often within a timeout a connection is looked at. */
const LOOKS = 2;

interface Look {
  readonly atMs: number;
  /** What the kernel still had to send; undefined where it does not tell. */
  readonly queuedBytes: number | undefined;
  /** How many looks in a row found no progress. */
  readonly idle: number;
}

/**
 * Tells a reader who takes nothing from one who takes little. The kernel wants more to send only when a third of its buffer
 * is free, which may be a megabyte: a slow reader then looks like none to whoever waits for a write to end. What the peer
 * has acknowledged meanwhile is in /proc/net/tcp (proc_pid_net(5)); where that is not, what looks like a stall is one.
 */
export class Stalls {
  readonly #timeoutMs: number;
  readonly #looks = new WeakMap<Socket, Look>();

  /** `timeoutMs`: how long a body may make no progress. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** What the sockets' own timeout is to be; look() is to be called when it is over. */
  get intervalMs(): number {
    return Math.ceil(this.#timeoutMs / LOOKS);
  }

  /**
   * Ends a connection that made no progress for a whole timeout. A receiver tells of room in its buffer only when a sixteenth
   * of it is free, so half a timeout would be too short a look. `isAtWork`: whether the body is still on its way.
   */
  async look(socket: Socket, isAtWork: () => boolean): Promise<void> {
    const before = this.#looks.get(socket);
    const atMs = performance.now();
    const queuedBytes = await queuedAt(socket).catch(() => undefined);
    // What is over meanwhile has a timeout of its own, for what comes next.
    if (socket.destroyed || !isAtWork()) return;
    // Seen long ago: it has been at work since.
    const isFresh = before !== undefined && atMs - before.atMs < this.intervalMs * 1.5;
    const hasMoved = queuedBytes !== undefined && queuedBytes < (before?.queuedBytes ?? 0);
    const idle = isFresh && !hasMoved ? before.idle + 1 : 0;
    if (idle >= LOOKS) {
      socket.destroy();
      return;
    }
    this.#looks.set(socket, { atMs, queuedBytes, idle });
    socket.setTimeout(this.intervalMs);
  }
}

/** Bytes that the kernel holds for this connection and that its peer has not acknowledged; undefined if it is not listed. */
async function queuedAt({ localPort, remotePort, remoteAddress }: Socket): Promise<number | undefined> {
  if (localPort === undefined || remotePort === undefined || remoteAddress === undefined) return undefined;
  const peer = `${kernelAddress(remoteAddress)}:${hex(remotePort, 4)}`;
  const own = `:${hex(localPort, 4)}`;
  const table = await readFile(isIPv4(remoteAddress) ? '/proc/self/net/tcp' : '/proc/self/net/tcp6', 'latin1');
  for (const line of table.split('\n')) {
    const [, local, remote, , queues] = line.trim().split(/\s+/);
    if (remote === peer && local?.endsWith(own) === true) return Number.parseInt(queues ?? '', 16);
  }
  return undefined;
}

/** As the kernel prints it: words of four bytes, each in the machine's order, which is little-endian wherever Node runs. */
function kernelAddress(address: string): string {
  const bytes = isIPv4(address) ? address.split('.').map(Number) : bytesOfIPv6(address);
  const words = Array.from({ length: bytes.length / 4 }, (_, at) => bytes.slice(at * 4, at * 4 + 4).reverse());
  return words
    .flat()
    .map(byte => hex(byte, 2))
    .join('');
}

function bytesOfIPv6(address: string): number[] {
  const [plain = ''] = address.split('%');
  // The last part of a mapped address is written as IPv4's (RFC 4291, 2.2).
  const last = plain.slice(plain.lastIndexOf(':') + 1);
  const tail = isIPv4(last) ? last.split('.').map(Number) : [];
  const words = (text: string): number[] =>
    text
      .split(':')
      .filter(word => word !== '')
      .flatMap(word => [Number.parseInt(word, 16) >> 8, Number.parseInt(word, 16) & 0xff]);
  const [head = '', rest = ''] = (tail.length > 0 ? plain.slice(0, plain.length - last.length) : plain).split('::');
  const after = [...words(rest), ...tail];
  const before = words(head);
  return [...before, ...new Array<number>(Math.max(0, 16 - before.length - after.length)).fill(0), ...after];
}

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0');
}
