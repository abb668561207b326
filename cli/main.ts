#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import module from 'node:module';
import process from 'node:process';

// Node 22 and later keep compiled code between runs; nothing else may be imported before.
if ('enableCompileCache' in module && typeof module.enableCompileCache === 'function') module.enableCompileCache();
const [{ buildProgram }, { finish }] = await Promise.all([import('./program.ts'), import('./exit.ts')]);

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

// A reader that went away (`plugin-mirror … | head`) is no fault of this program.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

try {
  await buildProgram(version).parseAsync(process.argv);
} catch (error) {
  finish(error);
}
