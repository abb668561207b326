#!/usr/bin/env node
// An old Node.js ends in this import, the only static one: it cannot even parse some of the other modules.
import './requireNode.cjs';

const { process } = globalThis;
// A reload that comes before `serve` has loaded its code must not end it: it reads everything anyway.
if (process.argv[2] === 'serve') process.on('SIGHUP', () => {});
// Other commands end as later on (cli/interruptible.ts), also where the kernel ignores a signal without a handler: process 1.
else
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => process.listenerCount(signal) === 1 && process.exit(130));

import('./program.ts').then(({ runProgram }) => runProgram());
