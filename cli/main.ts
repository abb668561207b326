#!/usr/bin/env node
// An old Node.js ends in this import, the only static one: it cannot even parse some of the other modules.
import './requireNode.cjs';

import('./program.ts').then(({ runProgram }) => runProgram());
