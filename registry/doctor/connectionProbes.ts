import { lookup } from 'node:dns/promises';
import { connect, isIP, type Socket } from 'node:net';
import tls from 'node:tls';
import type { Attempted } from '../builtin/faults/tlsFaults.ts';
import { refuseTls } from '../builtin/faults/tlsFaults.ts';
import { refuseTransport } from '../builtin/faults/transportFaults.ts';
import { openTunnel, TunnelFailed } from '../builtin/transport/tunnel.ts';
import { RegistryTls } from '../errors.ts';
import { bareHost, includesHost } from '../hosts/hosts.ts';
import { printable } from '../hosts/redact.ts';
import { Trust, type TrustOptions } from '../hosts/trust.ts';

/** A server that wants a client certificate and gets none hangs up at once, or says so by an alert. */
const HANG_UP_MS = 250;

/** What a probe works with. `proxy` is the one in use for `url`. */
export interface Connection {
  readonly url: URL;
  readonly proxy: URL | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** The addresses of a host's name, as this machine's resolver gives them. @throws RegistryDns, RegistryTimeout */
export async function probeDns(at: Connection): Promise<string> {
  const first = at.proxy ?? at.url;
  const name = bareHost(first.hostname);
  if (isIP(name) !== 0) return `${name} is an address already`;
  return refusing(at, first, async signal => {
    const found = await Promise.race([lookup(name, { all: true }), rejectionOf(signal)]);
    return found.map(({ address }) => address).join(', ');
  });
}

/** Opens a TCP connection to the proxy, or to the host itself. @throws this room's refusals */
export function probeTcp(at: Connection): Promise<string> {
  const first = at.proxy ?? at.url;
  return refusing(at, first, async signal => {
    const begun = performance.now();
    const socket = connect({ host: bareHost(first.hostname), port: portOf(first) });
    try {
      await settled(socket, 'connect', signal);
      const { remoteAddress = '', remotePort = 0 } = socket;
      const where = isIP(remoteAddress) === 6 ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
      return `${where} in ${Math.max(1, Math.round(performance.now() - begun))} ms`;
    } finally {
      socket.destroy();
    }
  });
}

/** Shakes hands over TLS, through the proxy if there is one, and tells the certificate. @throws this room's refusals */
export function probeTls(at: Connection, options: TrustOptions): Promise<string> {
  return refusing(at, at.url, async signal => {
    const trust = new Trust(options);
    const { secureContext } = await trust.settingsFor(at.url.host);
    const host = bareHost(at.url.hostname);
    const socket = await openSocket(at, trust, signal);
    const secure = tls.connect({
      socket,
      secureContext,
      // The certificate is judged below, when it can be told as well.
      rejectUnauthorized: false,
      ...(isIP(host) === 0 ? { servername: host } : { host }),
    });
    try {
      await settled(secure, 'secureConnect', signal);
      const { issuer, subject, valid_from, valid_to } = secure.getPeerCertificate();
      const told = `${secure.getProtocol()}, for ${nameIn(subject)}, issued by ${nameIn(issuer)}, valid ${dayOf(valid_from)} to ${dayOf(valid_to)}`;
      if (await hangsUp(secure)) throw refuseStranger(at.url, told);
      if (secure.authorized) return told;
      const code = String(secure.authorizationError);
      if (includesHost(options.insecure, at.url.host, 'https')) return `${told}; taken unproven (${code}): --insecure`;
      const attempted: Attempted = { method: 'CONNECT', ...at };
      const refusal = refuseTls(code, code, attempted, { subject: at.url.host, found: told });
      throw refusal ?? new Error(code);
    } finally {
      secure.destroy();
      socket.destroy();
    }
  });
}

/** TLS 1.3 tells a client only after its handshake that it should have shown a certificate. */
function hangsUp(socket: Socket): Promise<boolean> {
  return new Promise(resolve => {
    const settle = (answer: boolean): void => {
      clearTimeout(alarm);
      socket.removeListener('close', left);
      resolve(answer);
    };
    const left = (): void => settle(true);
    const alarm = setTimeout(() => settle(false), HANG_UP_MS);
    socket.once('close', left);
    // Nothing is to be read yet, but an end is only heard by who reads.
    socket.resume();
  });
}

function refuseStranger({ host }: URL, found: string): RegistryTls {
  return new RegistryTls(`${host} hangs up once TLS is agreed on: it wants a client certificate that it knows`, {
    subject: host,
    found,
    hint: 'Name a client certificate that the registry knows, with --cert-file and --key-file, or in certs.d.',
  });
}

async function openSocket(at: Connection, trust: Trust, signal: AbortSignal): Promise<Socket> {
  const { url, proxy, timeoutMs } = at;
  if (proxy !== undefined) {
    const proxyTls = await trust.settingsFor(proxy.host);
    return openTunnel({ proxy, proxyTls, timeoutMs, signal }, `${url.hostname}:${portOf(url)}`);
  }
  const socket = connect({ host: bareHost(url.hostname), port: portOf(url) });
  await settled(socket, 'connect', signal);
  return socket;
}

export function portOf(url: URL): number {
  return Number(url.port || (url.protocol === 'https:' ? 443 : 80));
}

/** Runs a probe within the time given; what it throws becomes one of this room's refusals. */
async function refusing(
  { signal, timeoutMs, proxy, url: target }: Connection,
  url: URL,
  probe: (signal: AbortSignal) => Promise<string>,
): Promise<string> {
  const controller = new AbortController();
  const leave = (): void => controller.abort(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener('abort', leave, { once: true });
  const late = Object.assign(new Error('it took too long'), { code: 'ETIMEDOUT' });
  const alarm = setTimeout(() => controller.abort(late), timeoutMs);
  try {
    return await probe(controller.signal);
  } catch (error) {
    signal.throwIfAborted();
    const fault = controller.signal.aborted ? late : error;
    // What keeps us from the proxy keeps us from the registry: the user knows that one.
    const told = url === proxy && fault instanceof Error ? new TunnelFailed(fault.message, undefined, fault) : fault;
    throw refuseTransport(told, { method: 'CONNECT', url: target, proxy, timeoutMs });
  } finally {
    clearTimeout(alarm);
    signal.removeEventListener('abort', leave);
  }
}

function rejectionOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** Resolves at the event; rejects at the socket's error or end, or at the signal, and then destroys it. */
function settled(socket: Socket, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      signal.removeEventListener('abort', leave);
      reject(error);
      socket.destroy();
    };
    const leave = (): void => fail(signal.reason);
    socket.once(event, () => {
      signal.removeEventListener('abort', leave);
      resolve();
    });
    socket.on('error', fail);
    socket.once('close', () => fail(Object.assign(new Error('it was closed'), { code: 'ECONNRESET' })));
    signal.addEventListener('abort', leave, { once: true });
    if (signal.aborted) leave();
  });
}

/** The common name, else the organisation; a certificate may have neither. */
function nameIn(name: tls.Certificate | undefined): string {
  const [text] = [name?.CN ?? name?.O ?? ''].flat();
  return printable(String(text ?? ''), 80) || 'nobody by name';
}

function dayOf(date: string): string {
  const time = Date.parse(date);
  return Number.isNaN(time) ? printable(date, 40) : new Date(time).toISOString().slice(0, 10);
}
