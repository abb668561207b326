#!/usr/bin/env node
// An old Node.js ends in this import, the only static one: it cannot even parse some of the other modules.
import './requireNode.cjs';

// A reload that comes before `serve` has loaded its code must not end it: it reads everything anyway.
if (globalThis.process.argv[2] === 'serve') globalThis.process.on('SIGHUP', () => {});

import('./program.ts').then(({ runProgram }) => runProgram());
