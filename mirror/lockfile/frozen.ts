import { Refusal } from '../../base/refusal.ts';
import { hashLocal } from '../manifest/localFile.ts';
import { versionKey } from '../report.ts';
import type { LockComparison, LockFile } from './compareManifest.ts';

/** A sync is frozen and there is no lock to be true to. */
export class FrozenLockMissing extends Refusal {
  readonly code = 'FROZEN_LOCK_MISSING';
}

/** The manifest says something else than the lock. */
export class FrozenLockDiffers extends Refusal {
  readonly code = 'FROZEN_LOCK_DIFFERS';
}

/** What was mirrored has the digests of the lock, and is otherwise not what the lock says of it. */
export class FrozenLockUntrue extends Refusal {
  readonly code = 'FROZEN_LOCK_UNTRUE';

  constructor(lockPath: string, differences: readonly string[]) {
    super(
      `${lockPath} says otherwise of what its digests lead to:\n${differences.map(line => `  ${line}`).join('\n')}`,
      {
        subject: lockPath,
        hint: 'The bytes are the locked ones, so the lock was edited by hand: restore it, or let plugin-mirror sync --no-frozen write it anew.',
      },
    );
  }
}

/** `byItself`: frozen since CI is set, not because somebody said so. @throws FrozenLockMissing */
export function requireLock(lock: LockFile | undefined, lockPath: string, byItself: boolean): LockFile {
  if (lock !== undefined) return lock;
  throw missingLock(lockPath, byItself);
}

export function missingLock(lockPath: string, byItself: boolean): FrozenLockMissing {
  const why = byItself ? 'where CI is set, sync takes only what a lock holds' : '--frozen takes only what a lock holds';
  const without = byItself ? ', or say --no-lock to take what the tags are at each run' : '';
  return new FrozenLockMissing(`${lockPath} is not there, and ${why}`, {
    subject: lockPath,
    expected: 'a lock beside the manifest',
    found: 'no such file',
    hint: `Run plugin-mirror sync --no-frozen once and commit the lock that it writes${without}.`,
  });
}

/** Differences are told in words, all at once. @throws FrozenLockDiffers */
export async function requireAgreement(
  { agreeing, added, removed, changed }: LockComparison,
  lockPath: string,
  signal: AbortSignal,
): Promise<void> {
  const differences = [
    ...added.map(it => `${it.name} ${it.version} is in the manifest, not in the lock`),
    ...removed.map(it => `${it.name} ${it.version} is in the lock, not in the manifest`),
    ...changed.map(it => it.words),
    ...(await changedFiles(agreeing, signal)),
  ];
  if (differences.length === 0) return;
  throw new FrozenLockDiffers(
    `${lockPath} does not agree with the manifest:\n${differences.map(line => `  ${line}`).join('\n')}`,
    {
      subject: lockPath,
      hint: 'Run plugin-mirror sync --no-frozen where it may ask the registry, review the lock and commit it.',
    },
  );
}

async function changedFiles(agreeing: LockComparison['agreeing'], signal: AbortSignal): Promise<string[]> {
  const changed: string[] = [];
  for (const { wanted, locked } of agreeing) {
    if (wanted.source.kind !== 'file') continue;
    const digest = await hashLocal(wanted.source.path, signal);
    if (digest === `sha256:${locked.sha256}`) continue;
    changed.push(
      `${versionKey(wanted)}: ${wanted.source.written} is ${digest}, the lock holds sha256:${locked.sha256}`,
    );
  }
  return changed;
}
