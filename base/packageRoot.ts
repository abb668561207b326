import { existsSync } from 'node:fs';

/** The folder of this program's package.json: above the sources, or above dist/. */
export const PACKAGE_ROOT = new URL(
  existsSync(new URL('../package.json', import.meta.url)) ? '../' : '../../',
  import.meta.url,
);
