import { readFileSync } from 'node:fs';
import module from 'node:module';
import process from 'node:process';

// Node.js 22 and later keep compiled code between runs. No other module may be imported before.
if ('enableCompileCache' in module && typeof module.enableCompileCache === 'function') module.enableCompileCache();
const [{ buildProgram }, { finish }] = await Promise.all([import('./program.ts'), import('./exit.ts')]);

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

// A command finishes its work although its output cannot be written. A reader that went away (`plugin-mirror … | head`) is
// no failure; any other error, such as a log file on a full disk, is reported once on stderr and by the exit code.
let isReported = false;
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || isReported) return;
    isReported = true;
    process.once('exit', code => (process.exitCode = code || 1));
    if (stream === process.stdout)
      process.stderr.write(`plugin-mirror: the output cannot be written: ${error.message}\n`);
  });

try {
  await buildProgram(version).parseAsync(process.argv);
} catch (error) {
  finish(error);
}
