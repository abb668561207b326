import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Tls } from './listener.ts';

export interface ProxyOptions {
  /** Basic credentials that every request must bring. Default: none needed. */
  readonly user?: string;
  readonly password?: string;
  /** Where a `host:port` really leads; others are looked up. Lets a test use hosts that no DNS knows. */
  readonly routes?: Readonly<Record<string, string>>;
  /** Only `routes` are allowed; anything else is 403. Default false. */
  readonly closed?: boolean;
  /** Answer everything with this status (e.g. 502), or never (0). */
  readonly failWith?: number;
  /** Speak TLS to the client. Default: plain. */
  readonly tls?: Tls;
}

export interface ProxyRecord {
  readonly method: string;
  /** `host:port` for CONNECT, else the absolute URL. */
  readonly target: string;
  readonly headers: IncomingMessage['headers'];
  /** 0 if nothing was answered. */
  status: number;
  /** Bytes towards the client through a tunnel, or of a forwarded body. */
  bytesDown: number;
}

/** Starts an HTTP proxy on a free loopback port: CONNECT tunnels, and the absolute form for plain http. */
export async function startProxy(options: ProxyOptions = {}): Promise<TestProxy> {
  const proxy = new TestProxy(options);
  await proxy.open();
  return proxy;
}

export class TestProxy {
  readonly #options: ProxyOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Duplex>();
  readonly requests: ProxyRecord[] = [];

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#server = options.tls ? createTlsServer({ key: options.tls.key, cert: options.tls.cert }) : createServer();
    this.#server.on('request', (request, response) => this.#forward(request, response));
    this.#server.on('connect', (request, socket, head) => this.#tunnel(request, socket, head));
    this.#server.on('connection', socket => this.#track(socket));
    this.#server.on('tlsClientError', () => {});
  }

  async open(): Promise<void> {
    await new Promise<void>(resolve => this.#server.listen(0, '127.0.0.1', resolve));
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Without credentials. */
  get url(): string {
    return `${this.#options.tls ? 'https' : 'http'}://${this.host}`;
  }

  /** With the credentials that it wants, as in HTTPS_PROXY. */
  get urlWithCredentials(): string {
    const { user = '', password = '' } = this.#options;
    return this.url.replace('://', `://${encodeURIComponent(user)}:${encodeURIComponent(password)}@`);
  }

  /** Requests by method (`CONNECT`, `GET`, …), or all. */
  count(method?: string): number {
    return this.requests.filter(record => method === undefined || record.method === method).length;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    const record = this.#record(request);
    const url = URL.canParse(record.target) ? new URL(record.target) : null;
    const refused = url === null ? 400 : this.#refusal(request, url.host);
    if (refused === 0) return;
    if (url === null || refused !== undefined) {
      record.status = refused ?? 400;
      response.writeHead(record.status, challengeFor(record.status)).end('refused by the proxy\n');
      return;
    }
    const { 'proxy-authorization': _, 'proxy-connection': __, ...headers } = request.headers;
    const [host, port] = this.#routeOf(url.host, 80);
    const onward = httpRequest({ host, port, path: `${url.pathname}${url.search}`, method: request.method, headers });
    onward.on('response', answer => {
      record.status = answer.statusCode ?? 502;
      response.writeHead(record.status, answer.rawHeaders);
      answer.on('data', (chunk: Buffer) => {
        record.bytesDown += chunk.length;
      });
      answer.on('error', () => response.destroy());
      answer.pipe(response);
    });
    onward.on('error', () => {
      record.status ||= 502;
      if (response.headersSent) response.destroy();
      else response.writeHead(502).end('the proxy can not reach it\n');
    });
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  }

  #tunnel(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const record = this.#record(request);
    socket.on('error', () => socket.destroy());
    const refused = this.#refusal(request, record.target);
    if (refused === 0) return;
    if (refused !== undefined) {
      record.status = refused;
      const challenge = Object.entries(challengeFor(refused)).map(([name, value]) => `${name}: ${value}\r\n`);
      socket.end(`HTTP/1.1 ${refused} Refused\r\n${challenge.join('')}content-length: 0\r\nconnection: close\r\n\r\n`);
      return;
    }
    const [host, port] = this.#routeOf(record.target, 443);
    const onward = connect(port, host, () => {
      record.status = 200;
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      onward.write(head);
      onward.on('data', chunk => {
        record.bytesDown += chunk.length;
      });
      onward.pipe(socket);
      socket.pipe(onward);
    });
    this.#track(onward);
    onward.on('error', () => {
      if (record.status !== 0) return void socket.destroy();
      record.status = 502;
      socket.end('HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
    });
    onward.on('close', () => socket.end());
    socket.on('close', () => onward.destroy());
  }

  // A status to refuse with; 0: never answer.
  #refusal(request: IncomingMessage, target: string): number | undefined {
    const { user, password = '', failWith, closed, routes = {} } = this.#options;
    const wanted = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
    if (user !== undefined && request.headers['proxy-authorization'] !== wanted) return 407;
    if (failWith !== undefined) return failWith;
    return closed === true && !(target in routes) ? 403 : undefined;
  }

  #routeOf(target: string, defaultPort: number): [host: string, port: number] {
    const url = new URL(`http://${this.#options.routes?.[target] ?? target}`);
    return [url.hostname.replace(/^\[|\]$/g, ''), Number(url.port || defaultPort)];
  }

  #record({ method = 'GET', url = '', headers }: IncomingMessage): ProxyRecord {
    const record = { method, target: url, headers: { ...headers }, status: 0, bytesDown: 0 };
    this.requests.push(record);
    return record;
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
  }
}

function challengeFor(status: number): Record<string, string> {
  return status === 407 ? { 'proxy-authenticate': 'Basic realm="proxy"' } : {};
}
