import dns, { type LookupAddress } from 'node:dns';
import { connect, isIP, type Socket } from 'node:net';
import { withinTime } from '../../base/withinTime.ts';
import { type AddressKind, addressKind, bareHost, kindOfName } from './hosts.ts';

export interface DialOptions {
  /** For the lookup and all attempts together. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Which kinds of addresses may be connected to. Default: all. */
  readonly allows?: (kind: AddressKind) => boolean;
}

export interface Dialed {
  readonly socket: Socket;
  /** The address that was judged and connected to. */
  readonly address: string;
}

/** One address that could not be connected to. */
export interface DialAttempt {
  readonly address: string;
  /** Node's error code; `ETIMEDOUT` for an attempt that was still open at the end. */
  readonly code: string;
}

/** No address of a host could be connected to. `code` is that of the most telling attempt. */
export class DialFailed extends Error {
  override readonly name = 'DialFailed';
  readonly code: string;
  readonly attempts: readonly DialAttempt[];

  constructor(attempts: readonly DialAttempt[], cause: unknown) {
    const telling = [...attempts].sort((one, other) => rankOf(one.code) - rankOf(other.code));
    const code = telling[0]?.code ?? 'ETIMEDOUT';
    super(`no address could be connected to: ${attempts.map(it => `${it.address} ${it.code}`).join(', ')}`, { cause });
    this.code = code;
    this.attempts = attempts;
  }
}

/** All addresses of a host are of kinds that must not be connected to. */
export class AddressForbidden extends Error {
  override readonly name = 'AddressForbidden';
  readonly address: string;
  readonly kind: AddressKind;

  constructor(address: string) {
    const kind = kindOfName(address);
    super(`${address} is a ${kind} address`);
    this.address = address;
    this.kind = kind;
  }
}

/** RFC 8305, 5 and 8: Connection Attempt Delay. */
const NEXT_ATTEMPT_MS = 250;
/** Far more than any registry has. */
const MOST_ADDRESSES = 32;

/**
 * Connects to a host. Its addresses are tried as in RFC 8305 (Happy Eyeballs), IPv6 and IPv4 in turn: a further attempt
 * begins 250 ms after the one before it, or as soon as that one fails, and no attempt is given up before one has succeeded.
 * (Node's own attempts end when the next one begins, so that it never reaches a host on a long line.) The address that was
 * judged is the one connected to. `hostname` is as in URLs. @throws DialFailed, AddressForbidden, the error of the lookup,
 * the signal's reason
 */
export async function dial(
  { hostname, port }: { readonly hostname: string; readonly port: number },
  { timeoutMs, signal, allows = () => true }: DialOptions,
): Promise<Dialed> {
  signal.throwIfAborted();
  const begunMs = performance.now();
  const found = await withinTime(timeoutMs, signal, lookUp(bareHost(hostname))).catch(
    (error: NodeJS.ErrnoException) => {
      throw error.code === LATE ? Object.assign(error, { code: NO_NAME_SERVER }) : error;
    },
  );
  const allowed = found.filter(({ address }) => allows(addressKind(address)));
  if (allowed.length === 0) throw new AddressForbidden(found[0]?.address ?? '');
  const attempts = new Attempts(inTurn(allowed).slice(0, MOST_ADDRESSES), port);
  try {
    return await withinTime(timeoutMs - (performance.now() - begunMs), signal, attempts.first());
  } catch (error) {
    attempts.abandon();
    throw (error as NodeJS.ErrnoException).code === LATE ? attempts.failure() : error;
  } finally {
    attempts.end();
  }
}

/** Returns all addresses of a host, in the resolver's order. @throws the error of the lookup */
export function lookUp(name: string): Promise<LookupAddress[]> {
  const family = isIP(name);
  if (family !== 0) return Promise.resolve([{ address: name, family }]);
  return new Promise((resolve, reject) => {
    dns.lookup(name, { all: true }, (error, addresses) => (error === null ? resolve(addresses) : reject(error)));
  });
}

const LATE = 'ETIMEDOUT';
const NO_NAME_SERVER = 'EAI_AGAIN';
const SOCKET = { autoSelectFamily: false, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 };

/** RFC 8305, 4: the families alternate, the resolver's first one first. */
function inTurn(addresses: readonly LookupAddress[]): LookupAddress[] {
  const first = addresses.filter(({ family }) => family === addresses[0]?.family);
  const other = addresses.filter(({ family }) => family !== addresses[0]?.family);
  return Array.from({ length: Math.max(first.length, other.length) }, (_, at) => [first[at], other[at]])
    .flat()
    .filter(it => it !== undefined);
}

/** Attempts to connect to several addresses, of which the first to succeed wins. */
class Attempts {
  readonly #addresses: readonly LookupAddress[];
  readonly #port: number;
  readonly #open = new Map<Socket, string>();
  readonly #failed: DialAttempt[] = [];
  #begun = 0;
  #winner: Socket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #cause: unknown;

  constructor(addresses: readonly LookupAddress[], port: number) {
    this.#addresses = addresses;
    this.#port = port;
  }

  first(): Promise<Dialed> {
    return new Promise((resolve, reject) => this.#begin(resolve, reject));
  }

  /** Returns the outcome of each address, with open attempts as timed out. */
  failure(): DialFailed {
    const late = [...this.#open.values()].map(address => ({ address, code: LATE }));
    return new DialFailed([...this.#failed, ...late], this.#cause);
  }

  /** Closes the attempts that did not win. */
  end(): void {
    clearTimeout(this.#timer);
    for (const socket of this.#open.keys()) socket.destroy();
    this.#open.clear();
  }

  /** The winner came too late. */
  abandon(): void {
    this.#winner?.destroy();
  }

  #begin(resolve: (winner: Dialed) => void, reject: (error: Error) => void): void {
    clearTimeout(this.#timer);
    const next = this.#addresses[this.#begun];
    if (next === undefined) return;
    this.#begun += 1;
    const { address, family } = next;
    const socket = connect({ host: address, port: this.#port, family, ...SOCKET });
    this.#open.set(socket, address);
    socket.once('connect', () => {
      this.#open.delete(socket);
      this.#winner = socket;
      resolve({ socket, address });
    });
    // Stays, so that an error between the connection and its first use does not end the process.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (!this.#open.delete(socket)) return;
      this.#failed.push({ address, code: error.code ?? 'UNKNOWN' });
      this.#cause ??= error;
      if (this.#begun < this.#addresses.length) this.#begin(resolve, reject);
      else if (this.#open.size === 0) reject(this.failure());
    });
    if (this.#begun < this.#addresses.length)
      this.#timer = setTimeout(() => this.#begin(resolve, reject), NEXT_ATTEMPT_MS);
  }
}

/** An address that drops packets or refuses says more about the host than one to which there is no route from here. */
function rankOf(code: string): number {
  if (code === LATE) return 0;
  if (code === 'ECONNREFUSED') return 1;
  return /UNREACH|ENETDOWN|EADDRNOTAVAIL|EAFNOSUPPORT|EINVAL/.test(code) ? 3 : 2;
}
