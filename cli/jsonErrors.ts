import process from 'node:process';
import { errorJson } from './syncJson.ts';

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
