import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { TLSSocket } from 'node:tls';
import { type HttpServer, isSecure, TIMEOUT_CHECK_MS } from './httpServer.ts';
import { divideWrites } from './smallWrites.ts';

/** When the server is about to stop, a connection without a request under way gets this long to send one. */
const LAST_REQUEST_MS = 1000;
/** Requests that may wait for the one under way on their connection. Gateways send none before they have the answer. */
const MAX_WAITING_REQUESTS = 16;
/** The same for all connections together: each waiting request takes some KiB. */
const MAX_WAITING_IN_TOTAL = 1024;
/** With all connections in use, one that has had no request for so long makes room for a new one. */
const MIN_IDLE_MS = 1000;
/** A timer may come a little earlier than performance.now() says. */
const TIMER_ERROR_MS = 20;
/** Connections that are looked at for that, the oldest first. */
const MAX_IDLE_SEARCH = 1024;
/** How long an ended connection waits for the client to close it too. */
const LINGER_MS = 5000;
/** The same during a stop, from the last answer on: the client may still be receiving what the kernel holds of it. */
const STOP_LINGER_MS = 30_000;
/** This much of all answers fits into the buffers of any client: a longer wait at a stop would be in vain. */
const DELIVERED_BYTES = 16 * 1024;
/** The most bytes of a write over TLS. A larger one takes as much time for each byte. */
const TLS_WRITE_BYTES = 64 * 1024;
/** With more connections than this, a write over TLS has one record (RFC 8446, section 5.1). */
const MANY_CONNECTIONS = 100;
const TLS_RECORD_BYTES = 16 * 1024;

export interface ConnectionSettings {
  readonly headersTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  /** Connections at a time. */
  readonly maxConnections: number;
  /** Calls an action when the event loop has time for it. */
  readonly inTurn: (action: () => void) => void;
}

interface WaitingRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

interface Connection {
  /** The answer that is under way. */
  response: ServerResponse | undefined;
  /** Complete requests that have not been begun, in their order. */
  readonly waiting: WaitingRequest[];
  /** Whether no request has arrived yet. */
  isNew: boolean;
  /** Whether the answer under way is the last one, or has been: further bytes are not requests. */
  isEnding: boolean;
  /** Whether the connection ends after the answer under way, because its client has to prove itself again. */
  isRetired: boolean;
  /** Requests that arrived after that. */
  ignored: number;
  /** Destroys the connection if the client does not close it. */
  linger: NodeJS.Timeout | undefined;
  /** How many bytes had been written when the memory for connections was last found full, and when they became that many. */
  writtenBytes: number;
  writtenAtMs: number;
  /** When the last answer was closed or the connection was made, and how many bytes the client had sent by then. */
  idleSinceMs: number;
  idleAtBytes: number;
}

/**
 * Knows what each connection is doing. Requests of one connection are begun one at a time: the next one when the former
 * answer has left the process, so that a client that takes no answer occupies the memory of one. A connection whose client
 * takes nothing of its answer for a whole stall timeout is cut, an idle one is closed, and a stop closes idle connections and
 * waits for the others. Node's `headersTimeout` handles half-sent headers: it ends in a `clientError` event and a 408.
 */
export class Connections {
  readonly #all = new Map<Socket, Connection>();
  /** The TCP connections below those of TLS, by the client's address and port. */
  readonly #transports = new Map<string, Socket>();
  /** Those whose TLS handshake has not ended, the oldest first, and when they were accepted. */
  readonly #handshaking = new Map<Socket, number>();
  readonly #maxIdleMs: number;
  readonly #maxConnections: number;
  readonly #inTurn: ConnectionSettings['inTurn'];
  #waiting = 0;
  #isDraining = false;
  #roomTimer: NodeJS.Timeout | undefined;
  #onEmpty: (() => void) | undefined;

  /** `server.timeout` must be the stall timeout: sockets start it again whenever the kernel takes bytes. */
  constructor(
    server: HttpServer,
    { headersTimeoutMs, keepAliveTimeoutMs, maxConnections, inTurn }: ConnectionSettings,
  ) {
    this.#inTurn = inTurn;
    // A part of the next header may have come together with the last request, which only Node's parser knows. Its check
    // for half-sent headers comes first.
    this.#maxIdleMs = Math.max(keepAliveTimeoutMs, headersTimeoutMs + 2 * TIMEOUT_CHECK_MS);
    this.#maxConnections = maxConnections;
    // Over TLS, requests belong to the TLS socket, not to the connection below it.
    server.on(isSecure(server) ? 'secureConnection' : 'connection', (socket: Socket) => this.#add(socket));
    if (isSecure(server)) server.on('connection', (socket: Socket) => this.#addTransport(socket));
    server.on('timeout', (socket: Socket) => this.#timedOut(socket));
    // Node has refused a connection: the client's next attempt finds room.
    server.on('drop', () => this.#makeRoom());
  }

  get open(): number {
    return this.#all.size;
  }

  /** Connections whose client may not have the whole answer yet. */
  get unfinished(): number {
    let found = 0;
    for (const [socket, connection] of this.#all)
      if (connection.response !== undefined || this.#undeliveredMs(socket, connection) > 0) found++;
    return found;
  }

  /** Whether an answer is under way. */
  isAnswering(socket: Socket): boolean {
    return this.#all.get(socket)?.response !== undefined;
  }

  /**
   * To be called for every request. Calls `answer` when the connection has no earlier request: immediately, later, or never
   * if the connection ends before. A client that sends too many requests ahead loses its connection.
   */
  take(request: IncomingMessage, response: ServerResponse, answer: RequestListener): void {
    const { socket } = request;
    const connection = this.#all.get(socket);
    if (connection === undefined) return;
    connection.isNew = false;
    if (connection.isEnding) {
      if (++connection.ignored > MAX_WAITING_REQUESTS) this.#cut(socket);
    } else if (connection.response === undefined) {
      this.#begin(socket, connection, { request, response }, answer);
      answer(request, response);
    } else if (connection.waiting.length < MAX_WAITING_REQUESTS && this.#waiting < MAX_WAITING_IN_TOTAL) {
      connection.waiting.push({ request, response });
      this.#waiting++;
      socket.pause();
    } else {
      connection.isEnding = true;
      this.#cut(socket);
    }
  }

  /**
   * Destroys a connection from within its parser. Node would still parse the rest of what it has read: up to 64 KiB, in which
   * a flood has thousands of requests. A parser whose `onIncoming` returns 2 ("another protocol follows") stops there.
   */
  #cut(socket: Socket): void {
    const parser: unknown = Reflect.get(socket, 'parser');
    if (typeof parser === 'object' && parser !== null && 'onIncoming' in parser) parser.onIncoming = () => 2;
    socket.destroy();
  }

  get #isOpen(): boolean {
    return this.#all.size > 0 || this.#handshaking.size > 0;
  }

  #addTransport(socket: Socket): void {
    const client = clientOf(socket);
    this.#transports.set(client, socket);
    this.#handshaking.set(socket, performance.now());
    socket.once('close', () => {
      this.#transports.delete(client);
      this.#handshaking.delete(socket);
      if (!this.#isOpen) this.#onEmpty?.();
    });
    if (this.#transports.size >= this.#maxConnections) this.#makeRoom();
  }

  /** Destroys a connection with a reset. After a normal close, the kernel would keep the unread bytes for minutes. */
  #reset(socket: Socket): void {
    const transport = socket instanceof TLSSocket ? this.#transports.get(clientOf(socket)) : socket;
    // resetAndDestroy() alone calls destroySoon(), which waits for the client. The end of a transport ends its TLS socket.
    transport?.resetAndDestroy();
    (transport ?? socket).destroy();
  }

  /** The answer under way is the last one of its connection. */
  expectNoMore(socket: Socket): void {
    const connection = this.#all.get(socket);
    if (connection === undefined) return;
    connection.isEnding = true;
    this.#dropWaiting(connection);
  }

  /** Closes idle connections and waits for the others. Resolves when no connection is left. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    for (const [socket, connection] of this.#all) if (connection.linger !== undefined) this.#linger(socket, connection);
    const timer = setTimeout(() => {
      for (const [socket, connection] of this.#all)
        if (connection.response === undefined) this.#end(socket, connection);
    }, LAST_REQUEST_MS);
    if (this.#isOpen)
      await new Promise<void>(resolve => {
        this.#onEmpty = resolve;
      });
    clearTimeout(timer);
  }

  /**
   * Resets the connection that was written to longest ago, if that is at least `leastMs`, so that the kernel drops what it
   * holds for a client that may have stopped reading. One with bytes that the kernel has not taken yet goes first: its client
   * has certainly stopped. To be called again and again while the memory for connections is full. Returns whether there was one.
   */
  resetQuietest(leastMs: number): boolean {
    const nowMs = performance.now();
    let quietest: Socket | undefined;
    let sinceMs = Number.POSITIVE_INFINITY;
    let isWaiting = false;
    for (const [socket, connection] of this.#all) {
      const { bytesWritten } = socket;
      if (bytesWritten !== connection.writtenBytes) {
        connection.writtenBytes = bytesWritten;
        connection.writtenAtMs = nowMs;
      }
      const { writtenAtMs } = connection;
      if (socket.destroyed || bytesWritten <= DELIVERED_BYTES || writtenAtMs > nowMs - leastMs) continue;
      const waits = socket.writableLength > 0;
      if (waits === isWaiting ? writtenAtMs >= sinceMs : !waits) continue;
      sinceMs = writtenAtMs;
      isWaiting = waits;
      quietest = socket;
    }
    if (quietest !== undefined) this.#reset(quietest);
    return quietest !== undefined;
  }

  /** Ends all connections that are open now: idle ones immediately, the others after the answer under way. */
  retire(): void {
    for (const [socket, connection] of this.#all) {
      connection.isRetired = true;
      if (connection.response === undefined) this.#end(socket, connection);
    }
  }

  closeAll(): void {
    for (const socket of this.#all.keys()) socket.destroy();
    for (const socket of this.#handshaking.keys()) socket.destroy();
  }

  #add(socket: Socket): void {
    const connection: Connection = {
      response: undefined,
      waiting: [],
      isNew: true,
      isEnding: false,
      isRetired: false,
      ignored: 0,
      linger: undefined,
      writtenBytes: 0,
      writtenAtMs: 0,
      idleSinceMs: performance.now(),
      idleAtBytes: 0,
    };
    this.#all.set(socket, connection);
    if (this.#all.size >= this.#maxConnections) this.#makeRoom();
    if (socket instanceof TLSSocket) {
      const transport = this.#transports.get(clientOf(socket));
      if (transport !== undefined) this.#handshaking.delete(transport);
      // As without TLS: see httpAllowHalfOpen. During the handshake, a closed sending side must close the connection.
      socket.allowHalfOpen = true;
      divideWrites(socket, () => (this.#all.size > MANY_CONNECTIONS ? TLS_RECORD_BYTES : TLS_WRITE_BYTES));
    }
    // Node resumes a socket after every request that it has parsed.
    socket.on('resume', () => {
      if (connection.waiting.length > 0) socket.pause();
    });
    // After an answer with `Connection: close` Node would close the connection as soon as the kernel has the last byte.
    socket.destroySoon = () => this.#end(socket, connection);
    socket.once('close', () => {
      clearTimeout(connection.linger);
      this.#dropWaiting(connection);
      this.#all.delete(socket);
      if (!this.#isOpen) this.#onEmpty?.();
    });
  }

  /** With all connections in use, closes one for the next client, as soon as one has been idle for a second. */
  #makeRoom(): void {
    if (this.#closeIdle()) return;
    this.#roomTimer ??= setTimeout(() => {
      this.#roomTimer = undefined;
      if (Math.max(this.#all.size, this.#transports.size) >= this.#maxConnections) this.#makeRoom();
    }, MIN_IDLE_MS + TIMER_ERROR_MS).unref();
  }

  /**
   * Closes the oldest connection without a TLS handshake, or else the oldest one that is idle, so that a crowd of idle clients
   * does not keep others from connecting. Returns whether there was one.
   */
  #closeIdle(): boolean {
    for (const [socket, sinceMs] of this.#handshaking) {
      if (performance.now() - sinceMs < MIN_IDLE_MS) break;
      if (socket.destroyed) continue;
      socket.destroy();
      return true;
    }
    let left = MAX_IDLE_SEARCH;
    for (const [socket, connection] of this.#all) {
      if (left-- === 0) return false;
      if (socket.destroyed || connection.response !== undefined || this.#undeliveredMs(socket, connection) > 0)
        continue;
      if (performance.now() - connection.idleSinceMs < MIN_IDLE_MS) continue;
      socket.destroy();
      return true;
    }
    return false;
  }

  /** The caller then calls `answer`. It is kept for the requests that wait. */
  #begin(socket: Socket, connection: Connection, { response }: WaitingRequest, answer: RequestListener): void {
    connection.response = response;
    response.once('close', () => {
      connection.response = undefined;
      connection.idleSinceMs = performance.now();
      connection.idleAtBytes = socket.bytesRead;
      if (socket.destroyed || connection.isEnding) return;
      if (connection.isRetired) {
        this.#end(socket, connection);
        return;
      }
      const next = connection.waiting.shift();
      if (next !== undefined) {
        this.#waiting--;
        if (connection.waiting.length === 0) socket.resume();
        this.#begin(socket, connection, next, answer);
        // Small answers close immediately, and so all that wait would be answered before a new connection is accepted.
        this.#inTurn(() => !socket.destroyed && answer(next.request, next.response));
      } else if (this.#isDraining)
        // Node may be about to parse a request that was sent together with this one.
        setImmediate(() => connection.response === undefined && this.#end(socket, connection));
    });
  }

  #dropWaiting(connection: Connection): void {
    this.#waiting -= connection.waiting.length;
    connection.waiting.length = 0;
  }

  /**
   * Ends the sending side and waits for the client to close the connection (RFC 9112, section 9.6). A close while the client
   * still sends would reset the connection, and the client could lose the end of its answer. So could a close at a stop: with
   * a container, the kernel discards what it has not sent yet.
   */
  #end(socket: Socket, connection: Connection): void {
    if (connection.linger !== undefined) return;
    connection.isEnding = true;
    this.#dropWaiting(connection);
    if (connection.response !== undefined) connection.idleSinceMs = performance.now();
    socket.end();
    socket.resume();
    this.#linger(socket, connection);
  }

  #linger(socket: Socket, connection: Connection): void {
    clearTimeout(connection.linger);
    const ms = this.#isDraining ? Math.max(this.#undeliveredMs(socket, connection), LAST_REQUEST_MS) : LINGER_MS;
    connection.linger = setTimeout(() => socket.destroy(), ms);
  }

  /** Returns for how long the kernel may still hold a part of the last answer. */
  #undeliveredMs(socket: Socket, { idleSinceMs }: Connection): number {
    return socket.bytesWritten > DELIVERED_BYTES ? idleSinceMs + STOP_LINGER_MS - performance.now() : 0;
  }

  /** The kernel has neither taken nor delivered bytes for a timeout. Every later byte starts the timeout again. */
  #timedOut(socket: Socket): void {
    const connection = this.#all.get(socket);
    if (connection === undefined) return;
    const { response } = connection;
    if (response !== undefined) {
      // Before its header, an answer waits for the disk or in the queue for downloads, which have limits of their own.
      if (response.headersSent) this.#reset(socket);
      return;
    }
    // The client has sent nothing or a part of a header: Node's headersTimeout applies.
    if (connection.isNew || socket.bytesRead > connection.idleAtBytes) return;
    const leftMs = connection.idleSinceMs + this.#maxIdleMs - performance.now();
    if (leftMs > 0) socket.setTimeout(leftMs);
    else socket.destroy();
  }
}

function clientOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
