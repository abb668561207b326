import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { errno } from '../../base/errno.ts';
import { type Check, fitting, nullable, object, text } from '../../base/shape.ts';

/** A lock of another machine counts as stale when its file was not written to for this long. */
export const STALE_AFTER_MS = 60_000;

/** The content of a lock file. */
export interface LockRecord {
  readonly token: string;
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: distinguishes a process from a later one with the same number. Null without /proc. */
  readonly startTime: string | null;
  readonly host: string;
  /** Containers may share a host name but not a process namespace; each boot has its own id. Null without /proc. */
  readonly pidNamespace: string | null;
  readonly bootId: string | null;
  readonly since: string;
}

const aProcess: Check = value =>
  Number.isSafeInteger(value) && Number(value) > 0 ? undefined : ': expected the number of a process';

const lockRecord = object({
  token: fitting(/^[0-9a-f-]{36}$/, 'a UUID'),
  pid: aProcess,
  startTime: nullable(text),
  host: text,
  pidNamespace: nullable(text),
  bootId: nullable(text),
  since: text,
});

/** The record of this process under a new token. */
export async function ownRecord(token: string): Promise<LockRecord> {
  const { pidNamespace, bootId } = await machine();
  const { startTime } = await processState(process.pid);
  return {
    token,
    pid: process.pid,
    startTime,
    host: hostname(),
    pidNamespace,
    bootId,
    since: new Date().toISOString(),
  };
}

export interface HolderState {
  readonly held: boolean;
  /** False if the answer rests on the lock's age, not on a look at the process. */
  readonly certain: boolean;
  /** Undefined if the file is not a lock of this program, or is still being written. */
  readonly record: LockRecord | undefined;
}

/**
 * Whether the process that wrote this lock file may still be running. `quietMs` is how long ago the file was written, in
 * milliseconds of the file server's clock; if it is undefined, the lock counts as fresh.
 */
export async function holderState(text: string, quietMs: number | undefined): Promise<HolderState> {
  const record = parseRecord(text);
  const fresh = quietMs === undefined || quietMs < STALE_AFTER_MS;
  if (record === undefined) return { held: fresh, certain: false, record };
  const here = await machine();
  const sameMachine =
    record.host === hostname() && record.pidNamespace === here.pidNamespace && record.bootId === here.bootId;
  if (!sameMachine) return { held: fresh, certain: false, record };
  const { alive, startTime } = await processState(record.pid);
  const sameProcess = startTime === null || record.startTime === null || startTime === record.startTime;
  return { held: alive && sameProcess, certain: true, record };
}

function parseRecord(json: string): LockRecord | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return lockRecord(value) === undefined ? (value as LockRecord) : undefined;
  } catch {
    return undefined;
  }
}

async function machine(): Promise<{ pidNamespace: string | null; bootId: string | null }> {
  const [pidNamespace, bootId] = await Promise.all([
    readlink('/proc/self/ns/pid').catch(() => null),
    readFile('/proc/sys/kernel/random/boot_id', 'latin1').then(
      text => text.trim(),
      () => null,
    ),
  ]);
  return { pidNamespace, bootId };
}

async function processState(pid: number): Promise<{ alive: boolean; startTime: string | null }> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined);
  if (stat === undefined) return { alive: acceptsSignals(pid), startTime: null };
  // proc_pid_stat(5): "pid (comm) state ppid …"; comm may contain anything, parentheses included.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { alive: fields[0] !== 'Z' && fields[0] !== 'X', startTime: fields[19] ?? null };
}

function acceptsSignals(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errno(error) !== 'ESRCH';
  }
}
