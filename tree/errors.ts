import { errno, isForbidden, isSystemError } from '../base/errno.ts';
import { Refusal } from '../base/refusal.ts';

/** The path given as the tree is a file, a dangling symlink, or cannot be reached. */
export class TreeUnusable extends Refusal {
  readonly code = 'TREE_UNUSABLE';
}

export class TreeNotWritable extends Refusal {
  readonly code = 'TREE_NOT_WRITABLE';
}

/** A file or folder of the tree is not readable for this user. */
export class TreeUnreadable extends Refusal {
  readonly code = 'TREE_UNREADABLE';
}

export class TreeLocked extends Refusal {
  readonly code = 'TREE_LOCKED';
}

/** Another process took the writer lock over, because this one gave no heartbeat for longer than a lock stays valid. */
export class TreeLockLost extends Refusal {
  readonly code = 'TREE_LOCK_LOST';
}

export class TreeDiskFull extends Refusal {
  readonly code = 'TREE_DISK_FULL';
}

/** A file that sync did not publish is where a plugin is to be published. It is neither followed nor deleted. */
export class TreeForeign extends Refusal {
  readonly code = 'TREE_FOREIGN';
}

/** A name, a version or a file name that cannot be a part of a path. */
export class TreeNameUnfit extends Refusal {
  readonly code = 'TREE_NAME_UNFIT';
}

/** The staged files differ from their metadata. */
export class TreeStagedWrong extends Refusal {
  readonly code = 'TREE_STAGED_WRONG';
}

/** A file system error without a code of its own here (EIO, ESTALE, …). */
export class TreeFault extends Refusal {
  readonly code = 'TREE_FAULT';
}

export class CatalogMissing extends Refusal {
  readonly code = 'CATALOG_MISSING';
}

export class CatalogInvalid extends Refusal {
  readonly code = 'CATALOG_INVALID';
}

/** The versions of a tree fill an index.json that no command would read again. */
export class CatalogTooLarge extends Refusal {
  readonly code = 'CATALOG_TOO_LARGE';
}

/** index.json was written by a later version of this program. */
export class CatalogNewer extends Refusal {
  readonly code = 'CATALOG_NEWER';
}

/** As asTreeRefusal, for operations that only read: a missing right is TREE_UNREADABLE. */
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
 * Returns the refusal for a file system error at `path`. Refusals, aborts and other errors are returned unchanged. Callers
 * who write into a staged folder themselves use it as well.
 */
export function asTreeRefusal(error: unknown, path: string): unknown {
  const code = errno(error);
  if (error instanceof Refusal || !(error instanceof Error) || code === undefined || !('syscall' in error))
    return error;
  const details = { subject: path, found: `${code} (${String(error.syscall)})`, cause: error };
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new TreeDiskFull(`No space is left while writing ${path}`, {
      ...details,
      faultIn: code,
      hint: 'Free some space, raise the quota or choose another folder with --tree, then run it again: plugins that were published before are unchanged.',
    });
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return new TreeNotWritable(
      code === 'EROFS' ? `${path} is on a read-only file system` : `There is no permission for ${path}`,
      {
        ...details,
        ...(code === 'EROFS' ? { faultIn: code } : {}),
        expected: 'files that this user may read, in a folder where this user may write',
        hint: 'Change its owner or mode, or choose another folder with --tree.',
      },
    );
  // More exact than the folder that the caller works in.
  const at = isSystemError(error) && error.path !== undefined ? error.path : path;
  return new TreeFault(`The file system failed at ${at}: ${code}`, {
    ...details,
    subject: at,
    hint: 'Check the disk or the mount (the kernel log has more), then run it again.',
  });
}
