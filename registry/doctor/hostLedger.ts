import type { Exchanged } from '../builtin/transport/transport.ts';
import { bareHost } from '../hosts/hosts.ts';
import { portOf } from './connectionProbes.ts';
import type { HostEntry } from './diagnosis.ts';

type Purpose = HostEntry['purposes'][number];

interface Line {
  readonly url: URL;
  readonly proxy: URL | undefined;
  readonly purposes: Set<Purpose>;
  answered: boolean;
  refused: boolean;
}

/** Which hosts were spoken to, for what, and whether they answered. */
export class HostLedger {
  readonly #lines = new Map<string, Line>();

  /** A host that has to be reached, whether or not it has been. */
  expect(url: URL, proxy: URL | undefined, purpose: Purpose): void {
    this.#line(url, proxy).purposes.add(purpose);
    if (proxy !== undefined) this.#line(proxy, undefined).purposes.add('proxy');
  }

  hear({ url, proxy, answered }: Exchanged, purpose: Purpose): void {
    const line = this.#line(url, proxy);
    // What a registry serves itself, such as its tokens, needs no second name.
    if (line.purposes.size === 0) line.purposes.add(purpose);
    if (proxy !== undefined) this.#line(proxy, undefined).purposes.add('proxy');
    if (!answered) return;
    line.answered = true;
    if (proxy !== undefined) this.#line(proxy, undefined).answered = true;
  }

  /** A proxy that answered, though not by connecting. */
  refuse(proxy: URL): void {
    const line = this.#line(proxy, undefined);
    line.answered = true;
    line.refused = true;
  }

  /** What this machine connects to by itself comes first. */
  get entries(): HostEntry[] {
    const entries = [...this.#lines.values()].map(({ url, proxy, purposes, answered, refused }): HostEntry => {
      const scheme = url.protocol === 'https:' ? 'https' : 'http';
      const through = proxy === undefined ? {} : { through: `${bareHost(proxy.hostname)}:${portOf(proxy)}` };
      const host = bareHost(url.hostname);
      const told = { answered, ...(refused ? { refused } : {}) };
      return { host, port: portOf(url), scheme, purposes: [...purposes], ...through, ...told };
    });
    return entries.sort((one, other) => Number(one.through !== undefined) - Number(other.through !== undefined));
  }

  #line(url: URL, proxy: URL | undefined): Line {
    // A loopback port that is tried over http first is the same port.
    const key = `${url.hostname}:${portOf(url)} ${proxy?.origin ?? ''}`;
    const line = this.#lines.get(key) ?? { url, proxy, purposes: new Set<Purpose>(), answered: false, refused: false };
    this.#lines.set(key, line);
    return line;
  }
}
