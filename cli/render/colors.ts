import process from 'node:process';
import type { WriteStream } from 'node:tty';

/**
 * Returns whether a stream gets colours. NO_COLOR (no-color.org: set and not empty) turns them off, then FORCE_COLOR decides;
 * without either, a terminal gets them unless TERM is `dumb`.
 */
export function wantsColor(stream: WriteStream, env: NodeJS.ProcessEnv = process.env): boolean {
  if (env.NO_COLOR !== undefined && env.NO_COLOR !== '') return false;
  const forced = env.FORCE_COLOR;
  if (forced !== undefined && forced !== '') return forced !== '0' && forced !== 'false';
  return stream.isTTY === true && env.TERM !== 'dumb';
}
