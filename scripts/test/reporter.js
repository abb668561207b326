import { relative } from 'node:path';
import process from 'node:process';
import { stripVTControlCharacters } from 'node:util';

/** What is shown of one failure: enough to see what differs, never a dump of all the bytes. */
const MAX_LINES = 40;
const MAX_COLUMNS = 300;
/** Of what a test file that crashed has written to stderr. */
const MAX_STDERR = 4000;
/** A run of minutes says now and then that it is alive. */
const SIGN_OF_LIFE_MS = 30_000;
const SUMMARY = /^(?:tests|pass|fail|cancelled|skipped|todo) \d+$/;

/**
 * Prints each failure with what differs, then the skipped tests by reason, and the totals as Node's TAP reporter words
 * them (`# pass 12`). What passed is not printed; PLUGIN_MIRROR_TEST_NOTES=1 adds what tests note about themselves.
 * It is JavaScript since Node 20 loads reporters before it can load TypeScript.
 *
 * @param {AsyncIterable<import('node:test/reporters').TestEvent>} source
 * @returns {AsyncGenerator<string>}
 */
export default async function* report(source) {
  const started = performance.now();
  const showsNotes = process.env.PLUGIN_MIRROR_TEST_NOTES === '1';
  /** @type {string[]} */
  const path = [];
  /** @type {string[]} */
  const failures = [];
  /** @type {Map<string, Map<string, number>>} */
  const skipped = new Map();
  /** @type {Map<string, number>} */
  const cancelled = new Map();
  /** @type {Map<string, string>} */
  const stderr = new Map();
  /** @type {string[]} */
  const summary = [];
  /** @type {Map<string, number>} */
  const tookMs = new Map();
  let passed = 0;
  let nextSign = SIGN_OF_LIFE_MS;

  for await (const event of source) {
    if (event.type === 'test:start') path.splice(event.data.nesting, path.length, event.data.name);
    if (event.type === 'test:stderr') {
      const { file = '', message } = event.data;
      stderr.set(file, `${stderr.get(file) ?? ''}${message}`.slice(-MAX_STDERR));
    }
    if (event.type === 'test:diagnostic') {
      const { message, nesting } = event.data;
      if (nesting === 0 && SUMMARY.test(message)) summary.push(`# ${message}`);
      else if (nesting > 0 && showsNotes) yield `${message}\n`;
    }
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;

    const { data } = event;
    // In a group of files, each is a suite with its path as the name.
    const isGroup = path[0]?.endsWith('.test.ts') === true;
    const file = (isGroup && path[0]) || shortPath(data.file ?? '');
    const isSuite = data.details.type === 'suite';
    if (data.nesting === 0) tookMs.set(file, (tookMs.get(file) ?? 0) + data.details.duration_ms);
    if (event.type === 'test:fail') {
      const { error } = event.data.details;
      // A suite fails because a test of it did, which has been printed. A test is cancelled because its suite failed.
      if (isSuite && isBlamedOnTests(error)) continue;
      if (failureType(error) === 'cancelledByParent' && data.nesting > 0) {
        cancelled.set(file, (cancelled.get(file) ?? 0) + 1);
        continue;
      }
      const failure = renderFailure(file, [...path.slice(0, data.nesting), data.name], error);
      const crashed = data.name === data.file ? indent(shorten(stderr.get(data.file) ?? '')) : '';
      failures.push(failure + crashed);
      yield `\n${failure}${crashed}`;
    } else if (data.skip !== undefined) {
      const reason = typeof data.skip === 'string' && data.skip !== '' ? data.skip : 'no reason given';
      const byFile = skipped.get(reason) ?? new Map();
      skipped.set(reason, byFile.set(file, (byFile.get(file) ?? 0) + 1));
    } else if (!isSuite) passed += 1;

    const elapsed = performance.now() - started;
    if (elapsed < nextSign) continue;
    nextSign = elapsed + SIGN_OF_LIFE_MS;
    yield `${Math.round(elapsed / 1000)} s: ${passed} passed, ${failures.length} failed so far (${file})\n`;
  }

  if (failures.length > 5)
    yield `\nAll failures again, in short:\n${failures.map(failure => failure.split('\n', 1)[0]).join('\n')}\n`;
  for (const [file, count] of cancelled)
    yield `\n${file}: ${count} tests were cancelled, as what they are part of failed\n`;
  if (skipped.size > 0) yield '\nSkipped:\n';
  for (const [reason, files] of skipped)
    yield `  ${reason}: ${[...files].map(([file, count]) => (count > 1 ? `${file} (${count})` : file)).join(', ')}\n`;
  const slowest = [...tookMs].sort(([, a], [, b]) => b - a).slice(0, 5);
  yield `\nLongest: ${slowest.map(([file, ms]) => `${file} ${Math.round(ms / 1000)} s`).join(', ')}\n`;
  yield `${summary.join('\n')}\n# took ${Math.round((performance.now() - started) / 1000)} s\n`;
}

/**
 * @param {string} file
 * @param {readonly string[]} path
 * @param {Error} failure
 */
function renderFailure(file, path, failure) {
  // The runner's own error has the test's one as its cause.
  const error = failure.cause instanceof Error ? failure.cause : failure;
  const own = typeof failure.cause === 'string' ? failure.cause : error.message;
  const place = placeOf(error);
  const reasons = [own, ...causesOf(error).map(({ message }) => `because: ${message}`)];
  return `✗ ${[file, ...path.filter(name => shortPath(name) !== file)].join(' › ')}\n${indent(shorten(reasons.join('\n')))}${place}`;
}

/** @param {Error} error */
function causesOf(error) {
  /** @type {Error[]} */
  const causes = [];
  for (let { cause } = error; cause instanceof Error && causes.length < 5; { cause } = cause) causes.push(cause);
  return causes;
}

/**
 * Where in the project it happened: the first line of the stack that is no library's.
 *
 * @param {Error} error
 */
function placeOf({ stack = '' }) {
  const line = stack.split('\n').find(text => /^\s+at .*:\d+:\d+\)?$/.test(text) && !/node:|node_modules/.test(text));
  return line === undefined ? '' : `    ${line.trim().replace('file://', '').replace(`${process.cwd()}/`, '')}\n`;
}

/** @param {Error & { failureType?: string }} error */
function failureType({ failureType = '' }) {
  return failureType;
}

/** @param {Error} error */
function isBlamedOnTests(error) {
  return failureType(error) === 'subtestsFailed' || /\d+ subtests? failed/.test(error.message);
}

/** @param {string} text */
function shorten(text) {
  const lines = stripVTControlCharacters(text).trim().split('\n');
  const shown = lines
    .slice(0, MAX_LINES)
    .map(line => (line.length > MAX_COLUMNS ? `${line.slice(0, MAX_COLUMNS)}…` : line));
  return [...shown, ...(lines.length > MAX_LINES ? [`… ${lines.length - MAX_LINES} more lines`] : [])].join('\n');
}

/** @param {string} text */
function indent(text) {
  return text === '' ? '' : `${text.replace(/^/gm, '    ')}\n`;
}

/** @param {string} file */
function shortPath(file) {
  return relative(process.cwd(), file);
}
