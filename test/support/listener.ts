import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { SecureVersion } from 'node:tls';
import type { Connection } from './delivery.ts';
import { holdPort } from './unusedPort.ts';

export interface Tls {
  /** PEM. */
  readonly key: string;
  readonly cert: string;
  /** PEM of the authority that client certificates must come from; asked for and required when given. */
  readonly clientCa?: string;
  /** The newest TLS version spoken, e.g. `TLSv1.1` to be too old for any client. Default: Node's. */
  readonly maxVersion?: SecureVersion;
}

export interface ListenerOptions {
  /** Address to listen on. Default `127.0.0.1`. */
  readonly address?: string;
  /** What URLs call it. Default: the address. */
  readonly name?: string;
  /** Serve https. Default: plain http. */
  readonly tls?: Tls;
}

export type Handler = (request: IncomingMessage, connection: Connection) => Promise<void>;

/** One HTTP(S) server on a port of its own, which can go down and come back, and whose every socket is known. */
export class Listener {
  readonly #server: Server;
  readonly #sockets = new Map<string, Socket>();
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #address: string;
  readonly #name: string;
  readonly #scheme: 'http' | 'https';
  #port = 0;
  #held: Socket | undefined;
  #resets = 0;
  /** TCP connections accepted so far. */
  connections = 0;

  constructor(handler: Handler, options: ListenerOptions) {
    this.#address = options.address ?? '127.0.0.1';
    this.#name = options.name ?? this.#address;
    this.#scheme = options.tls === undefined ? 'http' : 'https';
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      const gone = new AbortController();
      response.once('close', () => gone.abort());
      const tcp = this.#sockets.get(peerOf(request.socket)) ?? request.socket;
      const run: Promise<void> = handler(request, {
        response,
        tcp,
        signal: AbortSignal.any([gone.signal, this.#stop.signal]),
      })
        .catch(() => void response.destroy())
        .finally(() => this.#running.delete(run));
      this.#running.add(run);
    };
    const tls = options.tls;
    this.#server =
      tls === undefined
        ? createServer(listener)
        : createTlsServer(
            {
              key: tls.key,
              cert: tls.cert,
              ...(tls.maxVersion === undefined ? {} : { maxVersion: tls.maxVersion, minVersion: tls.maxVersion }),
              ...(tls.clientCa === undefined ? {} : { ca: tls.clientCa, requestCert: true, rejectUnauthorized: true }),
            },
            listener,
          );
    this.#server.keepAliveTimeout = 60_000;
    this.#server.on('tlsClientError', () => {});
    this.#server.on('connection', (socket: Socket) => {
      this.connections += 1;
      const peer = peerOf(socket);
      this.#sockets.set(peer, socket);
      socket.on('error', () => {});
      socket.once('close', () => this.#sockets.delete(peer));
      if (this.#resets > 0) {
        this.#resets -= 1;
        socket.resetAndDestroy();
      }
    });
  }

  /** `127.0.0.1:PORT`; an IPv6 address is bracketed. */
  get host(): string {
    return `${this.#name.includes(':') ? `[${this.#name}]` : this.#name}:${this.#port}`;
  }

  get origin(): string {
    return `${this.#scheme}://${this.host}`;
  }

  /** Opens the port, the same one as before if it was open once. */
  async up(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#port, this.#address, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#port = (this.#server.address() as AddressInfo).port;
    this.#letGo();
  }

  /** Resets the next so many connections as soon as they are made, before TLS. */
  resetConnections(count: number): void {
    this.#resets = count;
  }

  /** Closes the port and cuts every connection: further attempts are refused until `up`, since no other server gets the port. */
  async down(): Promise<void> {
    if (!this.#server.listening) return;
    await this.#end();
    this.#held = await holdPort(this.#port, this.#address);
  }

  /** Down for good; every handler has ended when it resolves. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#end();
    this.#letGo();
    await Promise.all(this.#running);
  }

  async #end(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()));
    for (const socket of this.#sockets.values()) socket.destroy();
    await closed;
  }

  #letGo(): void {
    this.#held?.destroy();
    this.#held = undefined;
  }
}

function peerOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}
