#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { finish } from './exit.ts';
import { buildProgram } from './program.ts';

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
