import { portOf } from '../builtin/transport/connect.ts';
import type { Contact } from '../builtin/transport/transport.ts';
import { bareHost } from '../hosts/hosts.ts';
import type { HostEntry } from './diagnosis.ts';

type Role = HostEntry['purposes'][number];

interface Line {
  readonly url: URL;
  readonly proxy: URL | undefined;
  readonly purposes: Set<Role>;
  answered: boolean;
  refused: boolean;
}

/** Records which hosts were contacted, for which purpose, and whether they answered. */
export class HostLedger {
  readonly #lines = new Map<string, Line>();

  /** Adds a host that a sync needs, whether or not it was contacted. */
  expect(url: URL, proxy: URL | undefined, purpose: Role): void {
    this.#line(url, proxy).purposes.add(purpose);
    if (proxy !== undefined) this.#line(proxy, undefined).purposes.add('proxy');
  }

  contacted({ url, proxy, answered }: Contact, purpose: Role): void {
    const line = this.#line(url, proxy);
    // A registry that is its own token server or storage keeps its first purpose.
    if (line.purposes.size === 0) line.purposes.add(purpose);
    if (proxy !== undefined) this.#line(proxy, undefined).purposes.add('proxy');
    if (!answered) return;
    line.answered = true;
    if (proxy !== undefined) this.#line(proxy, undefined).answered = true;
  }

  /** The proxy answered, but refused to connect. */
  refused(proxy: URL): void {
    const line = this.#line(proxy, undefined);
    line.answered = true;
    line.refused = true;
  }

  /** Hosts that this machine connects to directly come first. */
  get entries(): HostEntry[] {
    const entries = [...this.#lines.values()].map(({ url, proxy, purposes, answered, refused }): HostEntry => {
      const scheme = url.protocol === 'https:' ? 'https' : 'http';
      const through = proxy === undefined ? {} : { through: `${bareHost(proxy.hostname)}:${portOf(proxy)}` };
      const host = bareHost(url.hostname);
      const outcome = { answered, ...(refused ? { refused } : {}) };
      return { host, port: portOf(url), scheme, purposes: [...purposes], ...through, ...outcome };
    });
    return entries.sort((one, other) => Number(one.through !== undefined) - Number(other.through !== undefined));
  }

  #line(url: URL, proxy: URL | undefined): Line {
    // Without the scheme, because a loopback port may be tried over http and https.
    const key = `${url.hostname}:${portOf(url)} ${proxy?.origin ?? ''}`;
    const line = this.#lines.get(key) ?? { url, proxy, purposes: new Set<Role>(), answered: false, refused: false };
    this.#lines.set(key, line);
    return line;
  }
}
