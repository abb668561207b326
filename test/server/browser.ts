import { existsSync } from 'node:fs';
import process from 'node:process';
import { RUNS_SLOW, slow } from '../support/slow.ts';

/** Returns the path of Chromium on this machine. */
export function findBrowser(): string | undefined {
  return ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(path => existsSync(path));
}

/** The options of tests that need a browser: slow, and skipped without one, unless every peer of the tests must be there. */
export function needsBrowser(): { readonly skip?: string | false } {
  if (!RUNS_SLOW) return slow;
  const isMandatory = process.env.PLUGIN_MIRROR_TEST_PEERS === '1';
  return { skip: findBrowser() === undefined && !isMandatory ? 'no browser here' : false };
}
