import { errno, isForbidden } from '../base/errno.ts';
import { Refusal } from '../base/refusal.ts';

/** The path given as the tree is a file, a symlink to nowhere, or cannot be walked to. */
export class TreeUnusable extends Refusal {
  readonly code = 'TREE_UNUSABLE';
}

export class TreeNotWritable extends Refusal {
  readonly code = 'TREE_NOT_WRITABLE';
}

/** This user may not read something of the tree. */
export class TreeUnreadable extends Refusal {
  readonly code = 'TREE_UNREADABLE';
}

export class TreeLocked extends Refusal {
  readonly code = 'TREE_LOCKED';
}

/** Somebody took the lock over while this process was held up for longer than a lock lives without a heartbeat. */
export class TreeLockLost extends Refusal {
  readonly code = 'TREE_LOCK_LOST';
}

export class TreeDiskFull extends Refusal {
  readonly code = 'TREE_DISK_FULL';
}

/** Something that was not published from here lies where a plugin is to be. It is neither followed nor deleted. */
export class TreeForeign extends Refusal {
  readonly code = 'TREE_FOREIGN';
}

/** A name, a version or a file name that is not fit to be a part of a path. */
export class TreeNameUnfit extends Refusal {
  readonly code = 'TREE_NAME_UNFIT';
}

/** What was staged is not what its metadata says. */
export class TreeStagedWrong extends Refusal {
  readonly code = 'TREE_STAGED_WRONG';
}

/** The file system failed in a way that has no refusal of its own (EIO, ESTALE, …). */
export class TreeFault extends Refusal {
  readonly code = 'TREE_FAULT';
}

export class CatalogMissing extends Refusal {
  readonly code = 'CATALOG_MISSING';
}

export class CatalogInvalid extends Refusal {
  readonly code = 'CATALOG_INVALID';
}

/** index.json was written by a later version of this program. */
export class CatalogNewer extends Refusal {
  readonly code = 'CATALOG_NEWER';
}

/** As asTreeRefusal, where something was to be read and nothing written. */
export function asReadRefusal(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || error instanceof Refusal || !isForbidden(error)) return asTreeRefusal(error, path);
  return new TreeUnreadable(`This user may not read ${path}`, {
    subject: path,
    expected: 'files and folders that this user may read',
    found: String(errno(error)),
    hint: 'Change its owner or mode, or run this as the user who published it.',
    cause: error,
  });
}

/**
 * The refusal for a file system error met at `path`; a refusal, an abort and whatever is no file system error come back
 * as they are. For callers who write into a staged folder by themselves, too.
 */
export function asTreeRefusal(error: unknown, path: string): unknown {
  const code = errno(error);
  if (error instanceof Refusal || !(error instanceof Error) || code === undefined || !('syscall' in error))
    return error;
  const details = { subject: path, found: `${code} (${String(error.syscall)})`, cause: error };
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new TreeDiskFull(`No space is left while writing ${path}`, {
      ...details,
      hint: 'Free some space, raise the quota or choose another folder with --out, then run it again: what was published before is as it was.',
    });
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return new TreeNotWritable(
      code === 'EROFS' ? `${path} is on a read-only file system` : `There is no permission for ${path}`,
      {
        ...details,
        expected: 'files that this user may read, in a folder that it may write',
        hint: 'Change its owner or mode, or choose another folder with --out.',
      },
    );
  return new TreeFault(`The file system failed at ${path}: ${code}`, {
    ...details,
    hint: 'Look at the disk or the mount (the kernel log says more), then run it again.',
  });
}
