import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import process from 'node:process';
import { ENTRY } from './build.ts';

const isRoot = process.getuid?.() === 0;

/** Rights do not bind root: where the tests run as root, the command runs as this user. Undefined elsewhere. */
export const OTHER_USER = isRoot ? 65_534 : undefined;

/** Options of a test that runs the command as OTHER_USER. In root's home, other users can reach neither Node.js nor the build. */
export const asOtherUser: { readonly skip?: string } =
  !isRoot || [process.execPath, ENTRY].every(isReachable)
    ? {}
    : { skip: 'other users cannot reach this Node.js or this folder' };

function isReachable(path: string): boolean {
  const isOpen = (statSync(path).mode & 0o005) === 0o005;
  return isOpen && (dirname(path) === path || isReachable(dirname(path)));
}
