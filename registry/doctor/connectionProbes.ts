import { isIP, type Socket } from 'node:net';
import type { PeerCertificate } from 'node:tls';
import { shortLine } from '../../base/printable.ts';
import { withinTime } from '../../base/withinTime.ts';
import { TunnelFailed } from '../builtin/faults/proxyErrors.ts';
import { CertificateRejected, summarizeChain, tlsError } from '../builtin/faults/tlsErrors.ts';
import { transportError } from '../builtin/faults/transportErrors.ts';
import { openSocket, openTls, portOf } from '../builtin/transport/connect.ts';
import { RegistryTls } from '../errors.ts';
import { dial, lookUp } from '../hosts/dial.ts';
import { bareHost } from '../hosts/hosts.ts';
import { Trust, type TrustOptions } from '../hosts/trust.ts';

/**
 * A server that requires a client certificate closes the connection, or sends an alert, within this time after the handshake:
 * at least the first, and longer by far hosts and on busy machines, where the handshake took long as well.
 */
const HANG_UP_MS = { least: 250, most: 3000 } as const;

/** Dialing and the TLS handshake have time limits of their own. They end first, since their errors list each address. */
const GRACE_MS = 500;

/** The connection that a probe tests. `proxy` is the one in use for `url`. */
export interface Connection {
  readonly url: URL;
  readonly proxy: URL | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Resolves the host's name with this machine's resolver; returns the addresses. @throws RegistryDns, RegistryTimeout */
export async function probeDns(at: Connection): Promise<string> {
  const first = at.proxy ?? at.url;
  const name = bareHost(first.hostname);
  if (isIP(name) !== 0) return `${name} is an address already`;
  return withRefusal(at, first, async signal => {
    const found = await withinTime(at.timeoutMs + GRACE_MS, signal, lookUp(name));
    return [...new Set(found.map(({ address }) => address))].join(', ');
  });
}

/** Opens a TCP connection to the proxy, or to the host itself. @throws this room's refusals */
export function probeTcp(at: Connection): Promise<string> {
  const first = at.proxy ?? at.url;
  return withRefusal(at, first, async signal => {
    const begun = performance.now();
    const { timeoutMs } = at;
    const { socket } = await dial({ hostname: first.hostname, port: portOf(first) }, { timeoutMs, signal });
    const { remoteAddress = '', remotePort = 0 } = socket;
    socket.destroy();
    const where = isIP(remoteAddress) === 6 ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
    return `${where} in ${Math.max(1, Math.round(performance.now() - begun))} ms`;
  });
}

/** Does a TLS handshake, through the proxy if there is one, and describes the certificate. @throws this room's refusals */
export function probeTls(at: Connection, options: TrustOptions): Promise<string> {
  return withRefusal(at, at.url, async signal => {
    const trust = new Trust(options);
    const settings = await trust.settingsFor(at.url.host);
    const { socket } = await openSocket({ ...at, trust, signal });
    const started = performance.now();
    // The certificate is checked below, where it can be described, too.
    const secure = await openTls(socket, at.url, { ...settings, rejectUnauthorized: false }, { ...at, signal });
    const patienceMs = Math.min(HANG_UP_MS.most, Math.max(HANG_UP_MS.least, 3 * (performance.now() - started)));
    try {
      const certificate = secure.getPeerCertificate(true) as PeerCertificate;
      const { issuer, subject } = summarizeChain(certificate);
      const { valid_from, valid_to } = certificate;
      const issued = `issued by ${issuer}, valid ${dayOf(valid_from)} to ${dayOf(valid_to)}`;
      const described = `${secure.getProtocol()}, for ${subject}, ${issued}`;
      if (await hangsUp(secure, patienceMs)) throw certificateRequiredError(at.url, described);
      if (secure.authorized) return described;
      const code = String(secure.authorizationError);
      if (!settings.rejectUnauthorized) return `${described}; accepted without verification (${code}): --insecure`;
      const rejected = new CertificateRejected(code, summarizeChain(certificate));
      const details = { subject: at.url.host, found: `${secure.getProtocol()}, ${issued}` };
      throw tlsError(rejected, rejected, { method: 'CONNECT', ...at }, details) ?? rejected;
    } finally {
      secure.destroy();
      socket.destroy();
    }
  });
}

/** In TLS 1.3 a server rejects a missing client certificate only after the handshake. */
function hangsUp(socket: Socket, patienceMs: number): Promise<boolean> {
  return new Promise(resolve => {
    const finish = (hasHungUp: boolean): void => {
      clearTimeout(timer);
      socket.removeListener('close', closed);
      resolve(hasHungUp);
    };
    const closed = (): void => finish(true);
    const timer = setTimeout(() => finish(false), patienceMs);
    socket.once('close', closed);
    // Without reading, the end of the connection would not be noticed.
    socket.resume();
  });
}

function certificateRequiredError({ host }: URL, found: string): RegistryTls {
  return new RegistryTls(
    `${host} closes the connection after the TLS handshake: it requires a client certificate that it knows`,
    {
      subject: host,
      found,
      hint: 'Name a client certificate that the registry knows, with --cert-file and --key-file, or in certs.d.',
    },
  );
}

/** Runs a probe within little more than `timeoutMs`. @throws this room's refusals in place of any error, or the signal's reason */
async function withRefusal(
  { signal, timeoutMs, proxy, url: target }: Connection,
  url: URL,
  probe: (signal: AbortSignal) => Promise<string>,
): Promise<string> {
  const controller = new AbortController();
  const leave = (): void => controller.abort(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener('abort', leave, { once: true });
  const late = Object.assign(new Error('it took too long'), { code: 'ETIMEDOUT' });
  const timer = setTimeout(() => controller.abort(late), timeoutMs + GRACE_MS);
  try {
    return await probe(controller.signal);
  } catch (error) {
    signal.throwIfAborted();
    const fault = controller.signal.aborted ? late : error;
    // A failure to reach the proxy is reported with the registry's name, which the user knows.
    const named = url === proxy && fault instanceof Error ? new TunnelFailed(fault.message, undefined, fault) : fault;
    throw transportError(named, { method: 'CONNECT', url: target, proxy, timeoutMs });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', leave);
  }
}

function dayOf(date: string): string {
  const time = Date.parse(date);
  return Number.isNaN(time) ? shortLine(date, 40) : new Date(time).toISOString().slice(0, 10);
}
