import module from 'node:module';
import * as hooks from './hooks.js';

/*
 * `node --import ./scripts/test/loader.js FILE.ts` runs a file as scripts/test/run.ts has compiled it. tsx starts in more than
 * twice the time of Node.js alone, and each of more than a hundred test files is a process.
 */

// Node.js 22.15 and newer; the types are those of 20.
/** @type {unknown} */
const registerHooks = Reflect.get(module, 'registerHooks');
if (typeof registerHooks === 'function') registerHooks(hooks);
else module.register('./hooks.js', import.meta.url);
