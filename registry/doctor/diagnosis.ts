import { portOf } from '../builtin/transport/connect.ts';
import type { Contact } from '../builtin/transport/transport.ts';
import { bareHost } from '../hosts/hosts.ts';
import type { Reference } from '../reference.ts';

/** A host to diagnose: a registry of the manifest, or a mirror of one. */
export interface DoctorTarget {
  readonly role: 'registry' | 'mirror';
  /** `HOST[:PORT]`. */
  readonly registry: string;
  /** An image that should exist there; without one the diagnosis ends before the token step. */
  readonly reference?: Reference;
}

/** In order; each step needs the one before it. */
export type StepName = 'proxy' | 'dns' | 'tcp' | 'tls' | 'api' | 'clock' | 'token' | 'manifest' | 'blob';

export interface Step {
  readonly step: StepName;
  readonly status: 'ok' | 'failed' | 'skipped';
  /** The finding in words; without secrets. */
  readonly found: string;
  /** How to fix it; only if `failed`. */
  readonly hint?: string;
  /** The code of the error that sync would report; only if `failed`. */
  readonly code?: string;
}

/** The finding of a step that was not taken, because one before it failed. */
export const NOT_TRIED = 'needs the steps before it';

/** A host that was contacted, or should have been. */
export interface HostEntry {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  readonly scheme: 'http' | 'https';
  readonly purposes: readonly ('registry' | 'mirror' | 'token server' | 'blob storage' | 'proxy')[];
  /** `HOST:PORT` of the proxy that connects to it; undefined where this machine does. */
  readonly through?: string;
  /** True if it sent at least one HTTP reply. */
  readonly answered: boolean;
  /** True if it is a proxy that refused to connect. */
  readonly refused?: boolean;
}

export interface TargetDiagnosis extends DoctorTarget {
  readonly steps: readonly Step[];
}

export interface Diagnosis {
  readonly targets: readonly TargetDiagnosis[];
  /** Each host of all targets once: those that a firewall must allow this machine, or the proxy, to reach. */
  readonly hosts: readonly HostEntry[];
}

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
