import { Refusal } from '../../base/refusal.ts';
import { hashLocal } from '../manifest/localFile.ts';
import { versionKey } from '../report.ts';
import type { LockfileComparison } from './compareManifest.ts';
import type { Lockfile } from './lockfile.ts';

/** A sync is frozen and there is no lockfile. */
export class FrozenLockMissing extends Refusal {
  readonly code = 'FROZEN_LOCK_MISSING';
}

/** The manifest and the lockfile differ. */
export class FrozenLockDiffers extends Refusal {
  readonly code = 'FROZEN_LOCK_DIFFERS';
}

/** The mirrored images have the locked digests, but the lockfile describes them otherwise. */
export class FrozenLockUntrue extends Refusal {
  readonly code = 'FROZEN_LOCK_UNTRUE';

  constructor(lockPath: string, differences: readonly string[]) {
    super(`${lockPath} does not describe the images that it locks:`, {
      subject: lockPath,
      lines: differences,
      hint: 'The bytes are the locked ones, so the lockfile was edited by hand: restore it, or let plugin-mirror sync --no-frozen write it again.',
    });
  }
}

/** @param inCi frozen because CI is set, not by an option @throws FrozenLockMissing */
export function requireLockfile(lockfile: Lockfile | undefined, lockPath: string, inCi: boolean): Lockfile {
  if (lockfile !== undefined) return lockfile;
  throw missingLockfile(lockPath, inCi ? 'CI' : 'frozen');
}

const WHY_NEEDED = {
  CI: 'where CI is set, sync takes only locked digests',
  frozen: '--frozen takes only locked digests',
  'lock only': '--lock-only compares the registry with it',
  push: 'push copies only the images that it names',
} as const;

/** @param use what needs the lockfile */
export function missingLockfile(lockPath: string, use: keyof typeof WHY_NEEDED): FrozenLockMissing {
  const why = WHY_NEEDED[use];
  const without = use === 'CI' ? ', or use --no-lock to take what the tags lead to at each run' : '';
  return new FrozenLockMissing(`${lockPath} does not exist, and ${why}`, {
    subject: lockPath,
    expected: 'a lockfile next to the manifest, or at the path of --lock',
    found: 'no such file',
    hint: `Run plugin-mirror sync --no-frozen once and commit the lockfile that it writes${without}.`,
  });
}

/** Reports every difference in one error. @throws FrozenLockDiffers */
export async function requireAgreement(
  comparison: LockfileComparison,
  lockPath: string,
  signal: AbortSignal,
): Promise<void> {
  const differences = [...differencesIn(comparison), ...(await changedFiles(comparison.agreeing, signal))];
  if (differences.length > 0) throw lockDiffers(lockPath, differences);
}

/** Returns a line for each difference. */
export function differencesIn({ added, removed, changed }: Omit<LockfileComparison, 'agreeing'>): string[] {
  return [
    ...added.map(it => `${it.name} ${it.version} is in the manifest, not in the lockfile`),
    ...removed.map(it => `${it.name} ${it.version} is in the lockfile, not in the manifest`),
    ...changed.map(it => it.words),
  ];
}

export function lockDiffers(lockPath: string, differences: readonly string[]): FrozenLockDiffers {
  return new FrozenLockDiffers(`${lockPath} does not agree with the manifest:`, {
    subject: lockPath,
    lines: differences,
    hint: 'Run plugin-mirror sync --no-frozen where the registry can be reached, review the lockfile and commit it.',
  });
}

async function changedFiles(agreeing: LockfileComparison['agreeing'], signal: AbortSignal): Promise<string[]> {
  const changed: string[] = [];
  for (const { wanted, locked } of agreeing) {
    if (wanted.source.kind !== 'file') continue;
    const digest = await hashLocal(wanted.source.path, `${wanted.name} ${wanted.version}`, signal);
    if (digest === `sha256:${locked.sha256}`) continue;
    changed.push(
      `${versionKey(wanted)}: ${wanted.source.written} is ${digest}, the lockfile has sha256:${locked.sha256}`,
    );
  }
  return changed;
}
