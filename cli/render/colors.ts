import process from 'node:process';
import type { WriteStream } from 'node:tty';

/**
 * Whether a stream gets colours: FORCE_COLOR and NO_COLOR (no-color.org: present and not empty) decide, NO_COLOR first;
 * else a terminal that is not dumb does.
 */
export function wantsColor(stream: WriteStream, env: NodeJS.ProcessEnv = process.env): boolean {
  if (env.NO_COLOR !== undefined && env.NO_COLOR !== '') return false;
  const forced = env.FORCE_COLOR;
  if (forced !== undefined && forced !== '') return forced !== '0' && forced !== 'false';
  return stream.isTTY === true && env.TERM !== 'dumb';
}
