import type { Reference } from '../reference.ts';

/** A place to look at: a registry that the manifest names, or a mirror of one. */
export interface DoctorTarget {
  readonly role: 'registry' | 'mirror';
  /** `HOST[:PORT]`. */
  readonly registry: string;
  /** An image that ought to be there; without one the diagnosis ends before tokens. */
  readonly reference?: Reference;
}

/** In the order in which they are taken; each needs the former. */
export type StepName = 'proxy' | 'dns' | 'tcp' | 'tls' | 'api' | 'clock' | 'token' | 'manifest' | 'blob';

export interface Step {
  readonly step: StepName;
  readonly status: 'ok' | 'failed' | 'skipped';
  /** What was found, for people. Never a secret. */
  readonly found: string;
  /** How to mend it; with `failed` only. */
  readonly hint?: string;
  /** The code of the refusal that sync would end in; with `failed` only. */
  readonly code?: string;
}

/** What a step has found that was not taken because one before it failed. */
export const NOT_TRIED = 'needs the steps before it';

/** A host that was, or had to be, spoken to. */
export interface HostEntry {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  readonly scheme: 'http' | 'https';
  readonly purposes: readonly ('registry' | 'mirror' | 'token server' | 'blob storage' | 'proxy')[];
  /** `HOST:PORT` of the proxy that makes the connection; undefined where this machine makes it. */
  readonly through?: string;
  /** True if it answered HTTP at least once. */
  readonly answered: boolean;
  /** True if it is a proxy that answered by refusing to connect. */
  readonly refused?: boolean;
}

export interface TargetDiagnosis extends DoctorTarget {
  readonly steps: readonly Step[];
}

export interface Diagnosis {
  readonly targets: readonly TargetDiagnosis[];
  /** Every host of all targets, each once: what a firewall must let this machine, or the proxy, reach. */
  readonly hosts: readonly HostEntry[];
}
