#!/usr/bin/env node
// An old Node.js ends in this import, the only static one: it cannot even parse some of the other modules.
import './requireNode.cjs';

// Node.js 22 and later keep compiled code between runs. No other module may be loaded before.
const module = process.getBuiltinModule('node:module');
if ('enableCompileCache' in module && typeof module.enableCompileCache === 'function') module.enableCompileCache();

import('./program.ts').then(({ runProgram }) => runProgram());
