import tls from 'node:tls';
import { type RegistryRefusal, RegistryTls } from '../../errors.ts';
import { bareHost, includesHost, isLoopback } from '../../hosts/hosts.ts';
import type { HostChoice } from '../../registry.ts';

type Scheme = 'http' | 'https';

const PROBE_TIMEOUT_MS = 5000;

/**
 * Chooses http or https per host. Loopback is asked over http; since a registry with TLS may listen there too, a failed first
 * request is followed by one test whether the port speaks TLS.
 */
export class Schemes {
  readonly #plainHttp: HostChoice;
  readonly #known = new Map<string, Scheme>();

  constructor(plainHttp: HostChoice) {
    this.#plainHttp = plainHttp;
  }

  of(host: string): Scheme {
    const known = this.#known.get(host);
    if (known !== undefined) return known;
    return this.#isPlain(host) || isLoopback(new URL(`http://${host}`).hostname) ? 'http' : 'https';
  }

  /** A reply came over this scheme: it stays. */
  confirm(host: string, scheme: Scheme): void {
    this.#known.set(host, scheme);
  }

  /**
   * Returns true if http failed at a host that speaks TLS: the request is then to be sent again, over https.
   * @throws RegistryTls if plain http was asked for explicitly
   */
  async switchToTls(host: string, error: RegistryRefusal, signal: AbortSignal): Promise<boolean> {
    if (this.#known.has(host) || this.of(host) !== 'http' || !mayBeTls(error)) return false;
    const { hostname, port } = new URL(`http://${host}`);
    if (!(await speaksTls(bareHost(hostname), Number(port || 80), signal))) return false;
    if (this.#isPlain(host))
      throw new RegistryTls(`${host} speaks TLS at this port, not plain http`, {
        subject: host,
        ...(error.request === undefined ? {} : { request: error.request }),
        hint: 'Leave out --plain-http.',
        cause: error,
      });
    this.#known.set(host, 'https');
    return true;
  }

  #isPlain(host: string): boolean {
    return includesHost(this.#plainHttp, host, 'http');
  }
}

/** Go's servers, nginx and others answer plain http at a port with TLS by a 400 that says so, as text or as a page. */
function mayBeTls({ code, status, registrySaid, message }: RegistryRefusal & { readonly code: string }): boolean {
  if (status === 400) return code === 'REGISTRY_TLS' || /https/i.test(`${registrySaid ?? ''} ${message}`);
  return status === undefined && (code === 'REGISTRY_UNAVAILABLE' || code === 'REGISTRY_PROTOCOL');
}

/** Returns true if a TLS handshake succeeds at that port within 5 s, whatever the certificate. Sends nothing else. */
export function speaksTls(host: string, port: number, signal: AbortSignal): Promise<boolean> {
  return new Promise(resolve => {
    const socket = tls.connect({ host, port, rejectUnauthorized: false, signal } as tls.ConnectionOptions);
    const finish = (result: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => finish(false), PROBE_TIMEOUT_MS);
    socket.once('secureConnect', () => finish(true));
    // A server that wants a client certificate sends an alert, which is TLS too.
    socket.on('error', (error: NodeJS.ErrnoException) => finish(/ALERT/.test(error.code ?? '')));
    socket.once('close', () => finish(false));
  });
}
