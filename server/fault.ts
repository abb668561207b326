import { errno, isAbsent, isForbidden } from '../base/errno.ts';

/**
 * Why the right bytes are not to be had at a path. gone: nothing lies there. forbidden: this user may not read it. no-file:
 * a link, a folder or the like lies there, or the path leads out of the tree. replaced: another file, with other bytes.
 * altered: other bytes than the catalog names. unreadable: the disk, or the system, gave in.
 */
export type Fault = 'gone' | 'forbidden' | 'no-file' | 'replaced' | 'altered' | 'unreadable';

/** What an error of open(2), realpath(3) or read(2) says about the file. */
export function faultOf(error: unknown): Fault {
  if (isAbsent(error)) return 'gone';
  if (isForbidden(error)) return 'forbidden';
  // ELOOP: O_NOFOLLOW met a link. ENXIO: a socket.
  return ['ELOOP', 'ENXIO'].includes(errno(error) ?? '') ? 'no-file' : 'unreadable';
}
