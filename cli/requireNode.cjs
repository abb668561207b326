// Ends the process with exit code 2 under a Node.js that is too old. The command line imports it and each npm script runs
// it, before any other module. An old Node.js has to parse it: CommonJS, and no syntax that is newer than Node.js 14.

const NEEDED = '20.18.1'; // as "engines" of package.json
const found = process.versions.node;

if (numberOf(found) < numberOf(NEEDED)) {
  process.stderr.write(`plugin-mirror needs Node.js ${NEEDED} or newer; this is ${found} (at ${process.execPath})\n`);
  process.exit(2);
}

/** @param {string} version */
function numberOf(version) {
  return version.split('.').reduce((number, part) => number * 1000 + Number.parseInt(part, 10), 0);
}
