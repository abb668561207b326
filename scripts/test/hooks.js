import { readFileSync } from 'node:fs';

const ROOT = new URL('../../', import.meta.url).href;
const SOURCES = /^(?!node_modules\/|build\/|dist\/).*\.ts$/;

/**
 * The compiler writes `./name.js` where the source has `./name.ts`.
 *
 * @template Result
 * @param {string} specifier
 * @param {{ parentURL?: string | undefined }} context
 * @param {(specifier: string, context: object) => Result} next
 */
export function resolve(specifier, context, next) {
  const isRewritten = specifier.startsWith('.') && pathOf(context.parentURL ?? '') !== undefined;
  return next(isRewritten ? specifier.replace(/\.js$/, '.ts') : specifier, context);
}

/**
 * A module keeps the URL of its source, so that import.meta and stack traces name the source. The address of its source map is
 * relative to that URL.
 *
 * @template Result
 * @param {string} url
 * @param {object} context
 * @param {(url: string, context: object) => Result} next
 */
export function load(url, context, next) {
  const path = pathOf(url);
  if (path === undefined) return next(url, context);
  const compiled = readFileSync(new URL(`build/${path.replace(/\.ts$/, '.js')}`, ROOT), 'utf8');
  const folders = path.split('/').slice(0, -1);
  const map = `sourceMappingURL=${'../'.repeat(folders.length)}build/${folders.map(folder => `${folder}/`).join('')}`;
  return { format: 'module', source: compiled.replace(/sourceMappingURL=(?=[^\n]*$)/, map), shortCircuit: true };
}

/**
 * Returns the path of a source in the checkout, or undefined for any other module.
 *
 * @param {string} url
 */
function pathOf(url) {
  if (!url.startsWith(ROOT)) return undefined;
  const path = url.slice(ROOT.length);
  return SOURCES.test(path) ? path : undefined;
}
