import process from 'node:process';
import { Refusal } from '../../base/refusal.ts';
import { Interrupted } from '../interruptible.ts';

/**
 * Under `--format json` a command that cannot even begin still answers with one object on stdout; the error then goes its
 * usual way to stderr and the exit code.
 */
export async function withJsonErrors<T>(format: 'text' | 'json', work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (format === 'json')
      process.stdout.write(`${JSON.stringify({ schemaVersion: 1, error: errorJson(error) }, null, 2)}\n`);
    throw error;
  }
}

/** An error as every command's JSON has it. */
export function errorJson(error: unknown): object {
  if (error instanceof Interrupted)
    return { code: 'INTERRUPTED', message: error.message, hint: 'Run it again: it goes on from what is there.' };
  if (!(error instanceof Refusal)) {
    const message = error instanceof Error ? error.message : String(error);
    return { code: 'INTERNAL', message, hint: 'This is a fault in plugin-mirror, please report it.' };
  }
  const { code, message, hint, subject, expected, found, registrySaid } = error;
  const problems = 'problems' in error ? { problems: error.problems } : {};
  return { code, message, hint, subject, expected, found, registrySaid, ...problems };
}
