import { type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Server as SecureServer } from 'node:https';
import type { Socket } from 'node:net';

/** A connection without any request yet gets this long to bring one when the server is about to stop. */
const NEWCOMER_MS = 1000;

/** Knows which connections are at work, so that a stop ends the others at once and waits only for those. */
export class Connections {
  readonly #all = new Set<Socket>();
  /** Connections with no request under way: none yet, or none any more. (But for one that came before the former was answered.) */
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

  /**
   * What a connection is at, for a timer that has run out. header: a request is to come, or comes. waiting: it is there, the
   * answer is not yet. body: the answer is on its way. idle: all that was asked has been answered.
   */
  phaseOf(socket: Socket): 'header' | 'waiting' | 'body' | 'idle' {
    const response = answering(socket);
    if (response !== undefined) return response.headersSent ? 'body' : 'waiting';
    const kind = this.#idle.get(socket);
    if (kind === undefined) return 'body';
    return kind === 'new' || hasBegunRequest(socket) ? 'header' : 'idle';
  }

  /** To be called for every request. */
  note(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    this.#idle.delete(socket);
    response.once('close', () => {
      if (socket.destroyed) return;
      this.#idle.set(socket, 'kept');
      // A request that came with this one may wait on the socket; it is answered, with "Connection: close".
      if (this.#isDraining) setImmediate(() => this.#isIdle(socket) && socket.end());
    });
  }

  /** Ends what is idle, waits for the others. Resolves when no connection is left. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    for (const [socket, kind] of this.#idle) if (kind === 'kept' && this.#isIdle(socket)) socket.destroy();
    this.#timer = setTimeout(() => {
      for (const socket of this.#idle.keys()) if (this.#isIdle(socket)) socket.destroy();
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

  #isIdle(socket: Socket): boolean {
    return this.#idle.has(socket) && answering(socket) === undefined;
  }
}

/** The answer that Node is writing to this connection. Of several that were asked for at once, the first. */
function answering(socket: Socket): ServerResponse | undefined {
  const response = '_httpMessage' in socket ? socket._httpMessage : undefined;
  return response instanceof ServerResponse ? response : undefined;
}

/** Whether the parser is within a request. Node tells nobody else; where it does not tell at all, it is not. */
function hasBegunRequest(socket: Socket): boolean {
  const parser = 'parser' in socket ? socket.parser : undefined;
  if (typeof parser !== 'object' || parser === null || !('duration' in parser)) return false;
  return typeof parser.duration === 'function' && parser.duration() > 0;
}
