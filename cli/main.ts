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

// Work is not given up because nobody can be told of it: a reader that went away (`plugin-mirror … | head`) is no fault at
// all, a log file on a full disk is one that the exit code tells, and stderr if it can.
let isTold = false;
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || isTold) return;
    isTold = true;
    process.once('exit', code => (process.exitCode = code || 1));
    if (stream === process.stdout)
      process.stderr.write(`plugin-mirror: the output cannot be written: ${error.message}\n`);
  });

try {
  await buildProgram(version).parseAsync(process.argv);
} catch (error) {
  finish(error);
}
