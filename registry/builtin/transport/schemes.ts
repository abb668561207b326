import tls from 'node:tls';
import { type RegistryRefusal, RegistryTls } from '../../errors.ts';
import { includesHost, isLoopback } from '../../hosts/hosts.ts';
import type { HostChoice } from '../../registry.ts';

type Scheme = 'http' | 'https';

const PROBE_TIMEOUT_MS = 2000;

/**
 * http or https, per host. Loopback is asked over http by itself; since a registry with TLS may listen there too, a first
 * request that breaks there is followed by one look at whether the port speaks TLS.
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
    return this.#isChosen(host) || isLoopback(new URL(`http://${host}`).hostname) ? 'http' : 'https';
  }

  /** An answer came over this scheme: no more doubts. */
  confirm(host: string, scheme: Scheme): void {
    this.#known.set(host, scheme);
  }

  /** True if the host turns out to speak TLS where http was tried, and is to be asked again over https. */
  async mend(host: string, fault: RegistryRefusal, signal: AbortSignal): Promise<boolean> {
    if (this.#known.has(host) || this.of(host) !== 'http' || !mayBeTls(fault)) return false;
    const { hostname, port } = new URL(`http://${host}`);
    if (!(await speaksTls(hostname.replace(/^\[(.*)\]$/, '$1'), Number(port || 80), signal))) return false;
    if (this.#isChosen(host))
      throw new RegistryTls(`${host} speaks TLS at this port, not plain http`, {
        subject: host,
        ...(fault.request === undefined ? {} : { request: fault.request }),
        hint: 'Leave out --plain-http.',
        cause: fault,
      });
    this.#known.set(host, 'https');
    return true;
  }

  #isChosen(host: string): boolean {
    return includesHost(this.#plainHttp, host, 'http');
  }
}

function mayBeTls({ code, status, registrySaid }: RegistryRefusal & { readonly code: string }): boolean {
  if (status === 400) return /https/i.test(registrySaid ?? '');
  return status === undefined && (code === 'REGISTRY_UNAVAILABLE' || code === 'REGISTRY_PROTOCOL');
}

/** True if a TLS handshake comes about at that port, whatever the certificate. */
export function speaksTls(host: string, port: number, signal: AbortSignal): Promise<boolean> {
  return new Promise(resolve => {
    // Only whether a handshake comes about is asked; nothing is sent, and the certificate is judged later.
    const socket = tls.connect({ host, port, rejectUnauthorized: false, signal } as tls.ConnectionOptions);
    const settle = (answer: boolean): void => {
      clearTimeout(alarm);
      socket.destroy();
      resolve(answer);
    };
    const alarm = setTimeout(() => settle(false), PROBE_TIMEOUT_MS);
    socket.once('secureConnect', () => settle(true));
    // A server that wants a client certificate says so by an alert, which is TLS too.
    socket.on('error', (error: NodeJS.ErrnoException) => settle(/ALERT/.test(error.code ?? '')));
    socket.once('close', () => settle(false));
  });
}
