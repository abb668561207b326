import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { type HttpServer, isSecure, TIMEOUT_CHECK_MS } from './httpServer.ts';

/** When the server is about to stop, a connection without a request yet gets this long to send one. */
const NEW_CONNECTION_MS = 1000;

export interface ConnectionTimeouts {
  readonly headersTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
}

interface Connection {
  /** Responses that have not been closed, in the order of their requests: the first one is being sent. */
  readonly responses: ServerResponse[];
  /** Whether no request has arrived yet. */
  isNew: boolean;
  /** When the last response was closed, and how many bytes the client had sent by then. */
  idleSinceMs: number;
  idleAtBytes: number;
}

/**
 * Knows what each connection is doing. A connection whose client takes nothing of its answer for a whole stall timeout is
 * cut, an idle one is closed, and a stop closes idle connections and waits for the others. Half-sent headers are the matter
 * of Node's `headersTimeout`, which ends in a `clientError` event and a 408.
 */
export class Connections {
  readonly #all = new Map<Socket, Connection>();
  readonly #maxIdleMs: number;
  #isDraining = false;
  #onEmpty: (() => void) | undefined;

  /** `server.timeout` must be the stall timeout: sockets start it again whenever the kernel takes bytes. */
  constructor(server: HttpServer, { headersTimeoutMs, keepAliveTimeoutMs }: ConnectionTimeouts) {
    // A part of the next header may have come together with the last request, which only Node's parser knows. Its check
    // for half-sent headers comes first.
    this.#maxIdleMs = Math.max(keepAliveTimeoutMs, headersTimeoutMs + 2 * TIMEOUT_CHECK_MS);
    // Over TLS, requests belong to the TLS socket, not to the connection below it.
    server.on(isSecure(server) ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.#all.set(socket, { responses: [], isNew: true, idleSinceMs: 0, idleAtBytes: 0 });
      socket.once('close', () => {
        this.#all.delete(socket);
        if (this.#all.size === 0) this.#onEmpty?.();
      });
    });
    server.on('timeout', (socket: Socket) => this.#timedOut(socket));
  }

  get open(): number {
    return this.#all.size;
  }

  /** Whether an answer is under way or a complete request waits for one. */
  isAnswering(socket: Socket): boolean {
    return (this.#all.get(socket)?.responses.length ?? 0) > 0;
  }

  /** To be called for every request. */
  note({ socket }: IncomingMessage, response: ServerResponse): void {
    const connection = this.#all.get(socket);
    if (connection === undefined) return;
    const { responses } = connection;
    connection.isNew = false;
    responses.push(response);
    response.once('close', () => {
      responses.splice(responses.indexOf(response), 1);
      if (responses.length > 0 || socket.destroyed) return;
      connection.idleSinceMs = performance.now();
      connection.idleAtBytes = socket.bytesRead;
      // Node may be about to parse a request that was sent together with this one.
      if (this.#isDraining) setImmediate(() => responses.length === 0 && socket.end());
    });
  }

  /** Closes idle connections and waits for the others. Resolves when no connection is left. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    this.#closeIdle(({ isNew }) => !isNew);
    const timer = setTimeout(() => this.#closeIdle(), NEW_CONNECTION_MS);
    if (this.#all.size > 0)
      await new Promise<void>(resolve => {
        this.#onEmpty = resolve;
      });
    clearTimeout(timer);
  }

  closeAll(): void {
    for (const socket of this.#all.keys()) socket.destroy();
  }

  #closeIdle(filter: (connection: Connection) => boolean = () => true): void {
    for (const [socket, connection] of this.#all)
      if (connection.responses.length === 0 && filter(connection)) socket.destroy();
  }

  /** The kernel has neither taken nor delivered bytes for a timeout. Every later byte starts the timeout again. */
  #timedOut(socket: Socket): void {
    const connection = this.#all.get(socket);
    if (connection === undefined) return;
    const [response] = connection.responses;
    if (response !== undefined) {
      // Before its header, an answer waits for the disk or in the queue for downloads, which have limits of their own.
      if (response.headersSent) socket.destroy();
      return;
    }
    // The client has sent nothing or a part of a header: Node's headersTimeout applies.
    if (connection.isNew || socket.bytesRead > connection.idleAtBytes) return;
    const leftMs = connection.idleSinceMs + this.#maxIdleMs - performance.now();
    if (leftMs > 0) socket.setTimeout(leftMs);
    else socket.destroy();
  }
}
