import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/**
 * Returns a port on which nothing listens. It stays taken until this process ends, so that no test that runs at the same time
 * gets it from the system: a connection to it is refused each time.
 */
export async function unusedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  await holdPort(port, '127.0.0.1');
  return port;
}

/**
 * Takes a port on which a server has just stopped to listen, by a connection *from* that port: the system gives it to no other server,
 * and refuses connections to it. The server may listen on it again before or after the connection that this returns is destroyed.
 */
export async function holdPort(port: number, address: string): Promise<Socket> {
  const host = address.includes(':') ? '::1' : '127.0.0.1';
  const far = await farEnd(host);
  const socket = connect({ port: far, host, localPort: port, localAddress: host });
  socket.unref();
  await once(socket, 'connect');
  return socket;
}

const farEnds = new Map<string, Server>();

async function farEnd(host: string): Promise<number> {
  let server = farEnds.get(host);
  if (server === undefined) {
    server = createServer(socket => void socket.unref().on('error', () => {})).listen(0, host);
    farEnds.set(host, server.unref());
  }
  if (!server.listening) await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
