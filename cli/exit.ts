import process from 'node:process';
import { CommanderError } from 'commander';
import { Refusal } from '../base/refusal.ts';
import { renderRefusal } from './render/errors.ts';
import { printError, wantsColor } from './render/print.ts';

/** The exit codes of every command. Scripts depend on them, and the README lists them. */
export const EXIT = { good: 0, failed: 1, usage: 2, drift: 3, interrupted: 130 } as const;

/** Codes of refusals that mean: the command line or a file that a user wrote is wrong, and nothing was changed. */
const USAGE =
  /^(?:(?:USAGE|MANIFEST|HIGRESS|SELECTION|IMPORT|REFERENCE|OPTION)_|REGISTRY_OPTIONS$|LOCK_(?:CONFLICT|INVALID|NEWER|UNREADABLE)$)/;
/** Codes of refusals that mean: the tree or a tag differs from the lock. */
const DRIFT = /^FROZEN_/;

export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.good : EXIT.usage;
  if (isAbort(error)) return EXIT.interrupted;
  if (isFolderGone(error)) return EXIT.usage;
  if (error instanceof Refusal)
    return USAGE.test(error.code) ? EXIT.usage : DRIFT.test(error.code) ? EXIT.drift : EXIT.failed;
  return EXIT.failed;
}

/** Returns the exit code of a run that went on after these errors: 3 if all are differences, else 1; undefined without errors. */
export function failureOf(errors: readonly Error[]): number | undefined {
  if (errors.length === 0) return undefined;
  return errors.every(error => exitCodeOf(error) === EXIT.drift) ? EXIT.drift : EXIT.failed;
}

/** Prints the error that ended the command and sets the exit code. The process ends when nothing is left to run. */
export function finish(error: unknown): void {
  process.exitCode = exitCodeOf(error);
  if (error instanceof CommanderError) return; // commander has printed it
  if (isAbort(error)) printError('plugin-mirror: interrupted; no file is half-written\n');
  else if (isFolderGone(error))
    printError('plugin-mirror: the current folder does not exist any more; change to another one (cd)\n');
  else printError(renderRefusal(error, { color: wantsColor(process.stderr) }));
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || error.name === 'Interrupted');
}

/** True if getcwd(3) failed: the folder that the command was started in was deleted. */
function isFolderGone(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).syscall === 'uv_cwd';
}
