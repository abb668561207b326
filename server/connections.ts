import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Server as SecureServer } from 'node:https';
import type { Socket } from 'node:net';

/** A connection without any request yet gets this long to bring one when the server is about to stop. */
const NEWCOMER_MS = 1000;

/** Knows which connections are at work, so that a stop ends the others at once and waits only for those. */
export class Connections {
  readonly #all = new Set<Socket>();
  /** Connections with no request under way: none yet, or none any more. */
  readonly #idle = new Map<Socket, 'new' | 'kept'>();
  #isDraining = false;
  #empty: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(server: Server | SecureServer) {
    // Over TLS a request knows the socket that was made of the connection, not the connection.
    server.on('setSecureContext' in server ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.#all.add(socket);
      this.#idle.set(socket, 'new');
      socket.once('close', () => {
        this.#idle.delete(socket);
        this.#all.delete(socket);
        if (this.#all.size === 0) this.#empty?.();
      });
    });
  }

  get open(): number {
    return this.#all.size;
  }

  /** True while no request of this connection is under way. */
  isIdle(socket: Socket): boolean {
    return this.#idle.has(socket);
  }

  /** To be called for every request. */
  note(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    this.#idle.delete(socket);
    response.once('close', () => {
      if (socket.destroyed) return;
      this.#idle.set(socket, 'kept');
      // A request that came with this one may wait on the socket; it is answered, with "Connection: close".
      if (this.#isDraining) setImmediate(() => this.#idle.has(socket) && socket.end());
    });
  }

  /** Ends what is idle, waits for the others. Resolves when no connection is left. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    for (const [socket, kind] of this.#idle) if (kind === 'kept') socket.destroy();
    this.#timer = setTimeout(() => {
      for (const socket of this.#idle.keys()) socket.destroy();
    }, NEWCOMER_MS);
    if (this.#all.size > 0)
      await new Promise<void>(resolve => {
        this.#empty = resolve;
      });
    clearTimeout(this.#timer);
  }

  closeAll(): void {
    for (const socket of this.#all) socket.destroy();
  }
}
