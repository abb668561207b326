import { Refusal } from '../../base/refusal.ts';
import { Interrupted } from '../interruptible.ts';
import { printJson } from './print.ts';

/**
 * Runs a command. With `--format json`, a command that fails before it has a report prints one object with its error on
 * stdout. The error is thrown again, for stderr and the exit code.
 */
export async function withJsonErrors<T>(format: 'text' | 'json', work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (format === 'json') printJson({ schemaVersion: 1, error: errorJson(error) });
    throw error;
  }
}

/** Returns an error in the form that the JSON output of every command has. */
export function errorJson(error: unknown): object {
  if (error instanceof Interrupted)
    return { code: 'INTERRUPTED', message: error.message, hint: 'Run it again: finished plugins are kept.' };
  if (!(error instanceof Refusal)) {
    const message = error instanceof Error ? error.message : String(error);
    return { code: 'INTERNAL', message, hint: 'This is a bug in plugin-mirror, please report it.' };
  }
  const { code, message, hint, subject, expected, found, registrySaid } = error;
  const problems = 'problems' in error ? { problems: error.problems } : {};
  return { code, message, hint, subject, expected, found, registrySaid, ...problems };
}
