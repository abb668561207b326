import process from 'node:process';
import { type Command, InvalidArgumentError, type Option } from 'commander';
import { hostHint, isRegistry, withoutLogin } from '../../registry/reference.ts';
import { CODINGS, type Coding } from '../../tree/version/codings.ts';

const YES = /^(?:1|true|yes|on)$/i;
const NO = /^(?:0|false|no|off|)$/i;

/**
 * Prepares the variables of a command's options before commander reads them. An empty variable counts as unset. A switch is
 * on for 1/true/yes/on and off for 0/false/no/off; commander would take any value for on, `false` included. An option with
 * an optional value is a switch too.
 */
export function applyEnvironment(command: Command, env: NodeJS.ProcessEnv): void {
  for (const option of command.options) {
    const name = option.envVar;
    const value = name === undefined ? undefined : env[name];
    if (name === undefined || value === undefined) continue;
    if (value === '') delete env[name];
    else if (option.required) continue;
    else if (option.optional && !YES.test(value) && !NO.test(value)) continue;
    else applySwitch(command, option, name, value, env);
  }
}

function applySwitch(command: Command, option: Option, name: string, value: string, env: NodeJS.ProcessEnv): void {
  if (NO.test(value)) {
    delete env[name];
    // Off differs from unset where the switch may be on by default: PLUGIN_MIRROR_FROZEN=false on a build machine.
    if (command.options.some(it => it.negate && !option.negate && it.attributeName() === option.attributeName()))
      command.setOptionValueWithSource(option.attributeName(), false, 'env');
  } else if (YES.test(value)) {
    if (!option.optional) return;
    delete env[name];
    command.setOptionValueWithSource(option.attributeName(), true, 'env');
  } else
    command.error(
      `error: ${name}=${withoutLogin(value)}: expected 1, true, yes or on, or 0, false, no or off (the variable of ${option.long})`,
      {
        exitCode: 2,
        code: 'plugin-mirror.environment',
      },
    );
}

/** Returns a parser of whole numbers from `least` to `most`. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return text => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`Expected a whole number from ${least} to ${most}.`);
    return value;
  };
}

/** Returns a parser of seconds from `least` to `most`, fractions allowed. It returns milliseconds. */
export function seconds(least: number, most: number): (text: string) => number {
  return text => {
    const value = Number(text);
    if (!/^\d+(?:\.\d+)?$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`Expected seconds from ${least} to ${most}.`);
    return Math.round(value * 1000);
  };
}

/** Parts of less would fill a folder with files. */
const LEAST_BYTES = 1024 * 1024;

/** Parses a size of at least 1M: `2G`, `650M`, `1.5GiB` or bytes. Units are powers of 1024. */
export function bytes(text: string): number {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(text) ?? [];
  const value = Math.floor(Number(number) * 1024 ** ' KMGT'.indexOf(unit.toUpperCase() || ' '));
  if (number === '' || value < LEAST_BYTES || !Number.isSafeInteger(value))
    throw new InvalidArgumentError('Expected a size of at least 1M, such as 650M or 2G.');
  return value;
}

/** Parses a path. An empty one (`--out "$UNSET"`) would mean the current folder, so it is refused, and so is a URL. */
export function path(text: string): string {
  if (text === '') throw new InvalidArgumentError('Expected a path.');
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(text))
    throw new InvalidArgumentError(
      'Expected a path on this machine, not a URL: download the file first, for example with curl -fO.',
    );
  return text;
}

/** Parses the path of a report, whose extension is its format. */
export function reportFile(text: string): string {
  const file = path(text);
  if (!/[^/\\]\.(?:md|xml|json)$/.test(file))
    throw new InvalidArgumentError(
      'Expected a file that ends in .md (Markdown), .xml (JUnit) or .json (code quality).',
    );
  return file;
}

/** Parses the address of a server: the URL below which `/plugins/` is. */
export function baseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url !== undefined && url.search === '' && url.hash === '' && url.username + url.password === '';
  if (isPlain && /^https?:$/.test(url.protocol)) return new URL(url.pathname.replace(/\/plugins\/?$/, ''), url.origin);
  throw new InvalidArgumentError('Expected http://HOST[:PORT][/BASE] or https://…, without a login and a query.');
}

/** Parses a list. The option may be repeated, and its text may hold several values separated by commas or spaces. */
export function list(text: string, former: readonly string[] | undefined): string[] {
  const parts = separated(text);
  // An empty list would select everything, which `--only "$UNSET"` does not mean.
  if (parts.length === 0) throw new InvalidArgumentError('Expected at least one value.');
  return [...(former ?? []), ...parts];
}

/** Splits at commas and spaces. One within the braces of a glob separates nothing: the next brace after it is a closing one. */
function separated(text: string): string[] {
  const parts: string[] = [];
  let [end, isWithin] = [text.length, false];
  const take = (start: number): void => {
    if (start < end) parts.push(text.slice(start, end));
  };
  for (let at = text.length - 1; at >= 0; at--) {
    const sign = text.charAt(at);
    if (sign === '{' || sign === '}') isWithin = sign === '}';
    if (isWithin || !/[\s,]/.test(sign)) continue;
    take(at + 1);
    end = at;
  }
  take(0);
  return parts.reverse();
}

/** Parses a list of registries, each `HOST` or `HOST:PORT`. */
export function hosts(text: string, former: readonly string[] | true | undefined): string[] {
  const names = list(text, former === true ? undefined : former);
  const wrong = names.find(name => !isRegistry(name));
  if (wrong !== undefined)
    // If the text contains a login, any part of it may belong to the password.
    throw new InvalidArgumentError(
      text.includes('@')
        ? 'Expected HOST or HOST:PORT without credentials: these come from docker login, or from --username and --password-stdin.'
        : (hostHint(wrong) ?? `Expected HOST or HOST:PORT, without a scheme or a path: ${withoutLogin(wrong)}`),
    );
  return names;
}

/** Parses the codings of --compress: `gzip,br`, or `off`. */
export function codings(text: string): readonly Coding[] {
  if (text.trim() === 'off') return [];
  const named = text.split(',').map(part => part.trim());
  const wrong = named.find(name => !CODINGS.some(coding => coding === name));
  if (wrong !== undefined)
    throw new InvalidArgumentError(`Expected off, or gzip, br and zstd separated by commas: ${JSON.stringify(wrong)}`);
  if (named.includes('zstd') && !hasZstd())
    throw new InvalidArgumentError(
      `zstd needs Node.js 22.15 or newer (this is ${process.version}). Leave it out: gzip and br work everywhere.`,
    );
  return CODINGS.filter(coding => named.includes(coding));
}

/** Most runs never load zlib. */
function hasZstd(): boolean {
  return 'createZstdCompress' in process.getBuiltinModule('node:zlib');
}

/** True if the variable CI, which build services set, is neither empty nor 0, false, no or off. */
export function isBuildMachine({ CI = '' }: Readonly<Record<string, string | undefined>>): boolean {
  return !/^(?:|0|false|no|off)$/i.test(CI);
}

/** Returns the text of a secret without the byte order mark and the line end that editors, `echo` and PowerShell add. */
export function tidySecret(text: string): string {
  return text.replace(/^\ufeff/, '').replace(/\r?\n$/, '');
}
