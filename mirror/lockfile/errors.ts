import { Refusal } from '../../base/refusal.ts';
import type { RegistryNotFound } from '../../registry/errors.ts';
import { type Problem, problemCount, problemLines } from '../json/problem.ts';

const restore =
  'Restore it from version control. Or delete it and run plugin-mirror sync, which resolves every tag again and writes a new one.';

/** The lockfile is not what a sync wrote: cut off, edited by hand, or another file. */
export class LockInvalid extends Refusal {
  readonly code = 'LOCK_INVALID';
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[], hint = restore) {
    super(`${file}: ${problemCount(problems)}`, {
      subject: file,
      lines: problemLines(problems),
      expected: 'the lockfile as plugin-mirror sync wrote it',
      ...(problems[0] === undefined ? {} : { found: problems[0].found }),
      hint,
    });
    this.problems = problems;
  }
}

/** git left its conflict markers in the lockfile. */
export class LockConflict extends Refusal {
  readonly code = 'LOCK_CONFLICT';

  constructor(
    file: string,
    line: number,
    marker: string,
    hint = `Take one side whole (git checkout --theirs -- ${file}, or --ours), then run plugin-mirror sync: it adds and removes what the manifest asks for.`,
  ) {
    super(`${file} has an unresolved merge conflict (line ${line})`, {
      subject: file,
      expected: 'JSON without conflict markers',
      found: `${marker} in line ${line}`,
      hint,
    });
  }
}

/** The lockfile was written by a later plugin-mirror. */
export class LockNewer extends Refusal {
  readonly code = 'LOCK_NEWER';

  constructor(file: string, lockVersion: number, known: number) {
    super(`${file} has lockVersion ${lockVersion}, this plugin-mirror knows ${known}`, {
      subject: file,
      expected: `lockVersion ${known}`,
      found: `lockVersion ${lockVersion}`,
      hint: 'Use the plugin-mirror that wrote it, or a later one.',
    });
  }
}

/** The registry no longer has the locked image. */
export class LockedImageGone extends Refusal {
  readonly code = 'LOCK_IMAGE_GONE';

  constructor(name: string, version: string, digest: string, cause: RegistryNotFound) {
    super(`${name} ${version}: the registry no longer has the locked image ${digest}`, {
      subject: `${name} ${version}`,
      expected: `the locked image ${digest}`,
      found: cause.message,
      hint:
        cause.missing === 'repository'
          ? `The repository itself is not there: check its name, or put the image back. If it has moved, name its new repository in the manifest; plugin-mirror sync --update ${name} then locks that image.`
          : `Run plugin-mirror sync --update ${name} to lock the image that its tag leads to now, or push the locked image again.`,
      ...(cause.registrySaid === undefined ? {} : { registrySaid: cause.registrySaid }),
      cause,
    });
  }
}

/** The locked image does not have the plugin.wasm that the lockfile records. */
export class LockBytesDiffer extends Refusal {
  readonly code = 'LOCK_BYTES_DIFFER';

  constructor(name: string, version: string, expected: string, found: string) {
    super(`${name} ${version}: its plugin.wasm is not the locked one`, {
      subject: `${name} ${version}`,
      expected,
      found,
      hint: `The image has the locked digest, so the lockfile was edited by hand: restore it, or run plugin-mirror sync --update ${name}.`,
    });
  }
}

/** The words of LockUnreadable for a missing file, and for a link to a missing file. */
export const NO_FILE = 'no such file';
export const LEADS_NOWHERE = 'it is a symbolic link that leads nowhere';

export class LockUnreadable extends Refusal {
  readonly code = 'LOCK_UNREADABLE';

  constructor(path: string, found: string, cause?: unknown) {
    super(`${path} cannot be read: ${found}`, {
      subject: path,
      expected: 'a JSON file, readable by the user who runs this',
      found,
      hint: `${wayOut(path, found)}; without its lockfile a manifest’s tags could have moved unnoticed.`,
      cause,
    });
  }
}

export class LockUnwritable extends Refusal {
  readonly code = 'LOCK_UNWRITABLE';

  constructor(path: string, found: string, cause: unknown) {
    super(`${path} cannot be written: ${found}`, {
      subject: path,
      expected: 'a folder that the user who runs this may write to',
      found,
      hint: 'Make its folder writable (or make room on its disk), then run plugin-mirror sync again: what was published is kept. --lock FILE keeps the lockfile elsewhere, such as on a volume next to a manifest that is mounted from a ConfigMap; with --no-lock none is written.',
      cause,
    });
  }
}

/** The hint to give rights is for missing rights only. */
function wayOut(path: string, found: string): string {
  if (found === NO_FILE)
    return 'Check the path of the lockfile, or run plugin-mirror sync, which writes one next to the manifest';
  if (found === LEADS_NOWHERE) return `Restore what the link ${path} leads to, or delete the link`;
  if (found === 'permission denied') return 'Give this user the right to read it';
  return `Put the lockfile itself at ${path}, from version control, or move away what is there`;
}

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

  constructor(path: string, differences: readonly string[]) {
    super(`${path} does not describe the images that it locks:`, {
      subject: path,
      lines: differences,
      hint: 'The bytes are the locked ones, so the lockfile was edited by hand: restore it, or let plugin-mirror sync --no-frozen write it again.',
    });
  }
}

const WHY_NEEDED = {
  CI: 'where CI is set, sync takes only locked digests',
  frozen: '--frozen takes only locked digests',
  bundle: '--from takes only locked digests',
  'lock only': '--lock-only compares the registry with it',
  push: 'push copies only the images that it names',
} as const;

/** @param use what needs the lockfile */
export function missingLockfile(path: string, use: keyof typeof WHY_NEEDED): FrozenLockMissing {
  const why = WHY_NEEDED[use];
  const without = use === 'CI' ? ', or use --no-lock to take what the tags lead to at each run' : '';
  return new FrozenLockMissing(`${path} does not exist, and ${why}`, {
    subject: path,
    expected: 'a lockfile next to the manifest, or at the path of --lock',
    found: 'no such file',
    hint:
      use === 'bundle'
        ? 'Copy the lockfile from where the bundle was made. Without --manifest and --lock, those in the bundle are used.'
        : `Run plugin-mirror sync --no-frozen once and commit the lockfile that it writes${without}.`,
  });
}

/**
 * Returns the error of a lockfile that differs from the manifest; `differences` has a line for each.
 * @param isOfBundle true if a bundle is read, so that no registry can be asked
 */
export function lockDiffers(path: string, differences: readonly string[], isOfBundle = false): FrozenLockDiffers {
  return new FrozenLockDiffers(`${path} does not agree with the manifest:`, {
    subject: path,
    lines: differences,
    hint: isOfBundle
      ? 'Make the bundle again where the registry can be reached, or name a manifest and a lockfile that belong together, with --manifest and --lock.'
      : 'Run plugin-mirror sync --no-frozen where the registry can be reached, review the lockfile and commit it.',
  });
}
