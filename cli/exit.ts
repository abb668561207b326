import process from 'node:process';
import { CommanderError } from 'commander';
import { Refusal } from '../base/refusal.ts';
import { wantsColor } from './render/colors.ts';
import { renderRefusal } from './render/refusal.ts';

/** The contract with scripts; the README's table says the same. */
export const EXIT = { good: 0, failed: 1, usage: 2, drift: 3, interrupted: 130 } as const;

/** Codes of refusals that mean: what you wrote is wrong, nothing was touched. */
const USAGE =
  /^(?:(?:USAGE|MANIFEST|SELECTION|IMPORT|REFERENCE|OPTION)_|REGISTRY_OPTIONS$|LOCK_(?:CONFLICT|INVALID|NEWER|UNREADABLE)$)/;
/** … that mean: what is there is not what was agreed. */
const DRIFT = /^FROZEN_/;

export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.good : EXIT.usage;
  if (isAbort(error)) return EXIT.interrupted;
  if (isFolderGone(error)) return EXIT.usage;
  if (error instanceof Refusal)
    return USAGE.test(error.code) ? EXIT.usage : DRIFT.test(error.code) ? EXIT.drift : EXIT.failed;
  return EXIT.failed;
}

/** What a run ends with that met these errors and went on: 3 if all of them are differences, else 1. Undefined without any. */
export function failureOf(errors: readonly Error[]): number | undefined {
  if (errors.length === 0) return undefined;
  return errors.every(error => exitCodeOf(error) === EXIT.drift) ? EXIT.drift : EXIT.failed;
}

/** Prints what ended the command and sets the exit code; the process ends when its work is done. */
export function finish(error: unknown): void {
  process.exitCode = exitCodeOf(error);
  if (error instanceof CommanderError) return; // commander has said it
  if (isAbort(error)) process.stderr.write('plugin-mirror: interrupted; nothing is half-written\n');
  else if (isFolderGone(error))
    process.stderr.write('plugin-mirror: the current folder does not exist any more; change to another one (cd)\n');
  else process.stderr.write(renderRefusal(error, { color: wantsColor(process.stderr) }));
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || error.name === 'Interrupted');
}

/** getcwd(3): somebody deleted the folder that the command was started in. */
function isFolderGone(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).syscall === 'uv_cwd';
}
