import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';
import type { TestContext } from 'node:test';

/** What happens to connections to an address: they take so many milliseconds, never end, or fail with this code. */
export type Behaviour = number | 'never' | `E${string}`;

export interface Begun {
  readonly address: string;
  readonly atMs: number;
  readonly socket: net.Socket;
}

/**
 * Lets names resolve to several addresses, and connections to these behave as given; those that succeed lead to the same port of
 * 127.0.0.1. Other names and addresses are untouched. Returns the connections that are begun, in order.
 */
export function slowNetwork(
  test: TestContext,
  names: Readonly<Record<string, Readonly<Record<string, Behaviour>>>>,
): readonly Begun[] {
  const begun: Begun[] = [];
  const behaviours = new Map(Object.values(names).flatMap(Object.entries));
  const { lookup } = dns;
  const { connect } = net;
  const startMs = performance.now();
  const resolve = (name: string, options: dns.LookupAllOptions, done: (...results: unknown[]) => void): void => {
    const addresses = Object.keys(names[name] ?? {}).map(address => ({ address, family: net.isIP(address) }));
    if (addresses.length === 0) lookup(name, options, done);
    else setImmediate(done, null, addresses);
  };
  const open = (options: net.TcpNetConnectOpts): net.Socket => {
    const behaviour = behaviours.get(options.host ?? '');
    if (behaviour === undefined) return connect(options);
    const socket = new net.Socket();
    begun.push({ address: options.host ?? '', atMs: performance.now() - startMs, socket });
    if (typeof behaviour === 'string' && behaviour !== 'never')
      setImmediate(() => socket.destroy(Object.assign(new Error(`connect ${behaviour}`), { code: behaviour })));
    if (typeof behaviour === 'number')
      setTimeout(() => socket.destroyed || socket.connect({ host: '127.0.0.1', port: options.port }), behaviour);
    return socket;
  };
  test.mock.method(dns, 'lookup', resolve as never);
  test.mock.method(net, 'connect', open as never);
  syncBuiltinESMExports();
  test.after(() => {
    test.mock.restoreAll();
    syncBuiltinESMExports();
    for (const { socket } of begun) socket.destroy();
  });
  return begun;
}
