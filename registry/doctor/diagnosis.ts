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
  /** What the step found, for people; without secrets. */
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
