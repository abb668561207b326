#!/usr/bin/env node
// An old Node.js ends in the first import. It could not even parse some of the modules that the second one loads.
import './requireNode.cjs';

import('./start.ts');
