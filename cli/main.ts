#!/usr/bin/env node
// An old Node.js ends in this import, the only static one: it cannot even parse some of the other modules.
import './requireNode.cjs';

const { process } = globalThis;
// Node.js opens its debugger's port at this signal, which any process of the same user may send. `serve` logs it.
process.on('SIGUSR1', () => {});
// SIGHUP, with which `serve` reads its files again, must not end it while its code is still being loaded.
if (process.argv[2] === 'serve') process.on('SIGHUP', () => {});
// Other commands end with 130 until `interruptible` (cli/runCommand.ts) handles these signals. Process 1 needs a handler, because
// the kernel ignores a signal that it does not handle.
else
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => process.listenerCount(signal) === 1 && process.exit(130));

import('./program.ts').then(({ runProgram }) => runProgram());
