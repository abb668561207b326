import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';

const ROOT = '/sys/fs/cgroup';
const PERIOD_US = 100_000;
const MEMORY_BYTES = 256 * 1024 * 1024;

/**
 * Limits a process as `docker run --cpus 0.5 --memory 256m` would, with a control group (version 1 or 2). Returns a function that
 * removes the group after the process has ended; undefined without the right to make groups (root).
 */
export function limitToHalfCore(pid: number): (() => void) | undefined {
  const name = `plugin-mirror-bench-${process.pid}-${pid}`;
  const isUnified = existsSync(join(ROOT, 'cgroup.controllers'));
  const groups = isUnified ? [join(ROOT, name)] : [join(ROOT, 'cpu', name), join(ROOT, 'memory', name)];
  const settings: readonly [group: number, file: string, value: string][] = isUnified
    ? [
        [0, 'cpu.max', `${PERIOD_US / 2} ${PERIOD_US}`],
        [0, 'memory.max', String(MEMORY_BYTES)],
      ]
    : [
        [0, 'cpu.cfs_period_us', String(PERIOD_US)],
        [0, 'cpu.cfs_quota_us', String(PERIOD_US / 2)],
        [1, 'memory.limit_in_bytes', String(MEMORY_BYTES)],
      ];
  const made: string[] = [];
  const remove = (): void => {
    for (const group of made) rmdirSync(group);
  };
  try {
    for (const group of groups) {
      mkdirSync(group);
      made.push(group);
    }
    for (const [at, file, value] of settings) writeFileSync(join(groups[at] ?? '', file), value);
    for (const group of groups) writeFileSync(join(group, 'cgroup.procs'), String(pid));
    return remove;
  } catch {
    remove();
    return undefined;
  }
}
