import { type Command, InvalidArgumentError, type Option } from 'commander';
import { isRegistry, withoutLogin } from '../../registry/reference.ts';

const YES = /^(?:1|true|yes|on)$/i;
const NO = /^(?:0|false|no|off|)$/i;

/**
 * Makes a command's environment forms behave as people expect before commander reads them: an empty variable is none, and
 * a switch is on for 1/true/yes/on and off for 0/false/no/off (commander alone takes any value for on, `false` included).
 * An option whose value may be left out is a switch too.
 */
export function applyEnvironment(command: Command, env: NodeJS.ProcessEnv): void {
  for (const option of command.options) {
    const name = option.envVar;
    const value = name === undefined ? undefined : env[name];
    if (name === undefined || value === undefined) continue;
    if (value === '') delete env[name];
    else if (option.required) continue;
    else if (option.optional && !YES.test(value) && !NO.test(value)) continue;
    else settleSwitch(command, option, name, value, env);
  }
}

function settleSwitch(command: Command, option: Option, name: string, value: string, env: NodeJS.ProcessEnv): void {
  if (NO.test(value)) {
    delete env[name];
    // Off is more than unset where the switch can be on by itself: PLUGIN_MIRROR_FROZEN=false on a build machine.
    if (command.options.some(it => it.negate && !option.negate && it.attributeName() === option.attributeName()))
      command.setOptionValueWithSource(option.attributeName(), false, 'env');
  } else if (YES.test(value)) {
    if (!option.optional) return;
    delete env[name];
    command.setOptionValueWithSource(option.attributeName(), true, 'env');
  } else
    command.error(
      `error: ${name}=${withoutLogin(value)}: expected 1, true, yes or on, or 0, false, no or off (the environment form of ${option.long})`,
      {
        exitCode: 2,
        code: 'plugin-mirror.environment',
      },
    );
}

/** For options that count: a whole number from `least` to `most`. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return text => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`Expected a whole number from ${least} to ${most}.`);
    return value;
  };
}

/** For options in seconds, fractions allowed; the value is in milliseconds. */
export function seconds(least: number, most: number): (text: string) => number {
  return text => {
    const value = Number(text);
    if (!/^\d+(?:\.\d+)?$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`Expected seconds from ${least} to ${most}.`);
    return Math.round(value * 1000);
  };
}

/** For paths: an empty one (`--out "$UNSET"`) would mean the current folder, which nobody wants. A URL is none. */
export function path(text: string): string {
  if (text === '') throw new InvalidArgumentError('Expected a path.');
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(text))
    throw new InvalidArgumentError(
      'Expected a path on this machine, not a URL: download it first, with curl -fO or the like.',
    );
  return text;
}

/** For options that may be given several times, and hold several values separated by commas or spaces in the environment. */
export function list(text: string, former: readonly string[] | undefined): string[] {
  // Not a comma within a glob's braces.
  const parts = text.split(/[\s,]+(?![^{}]*\})/).filter(part => part !== '');
  // An empty list would mean everything: the opposite of what `--only "$UNSET"` wants.
  if (parts.length === 0) throw new InvalidArgumentError('Expected at least one.');
  return [...(former ?? []), ...parts];
}

/** For options that name registries: like `list`, each `HOST` or `HOST:PORT`. */
export function hosts(text: string, former: readonly string[] | true | undefined): string[] {
  const names = list(text, former === true ? undefined : former);
  const wrong = names.find(name => !isRegistry(name));
  if (wrong !== undefined)
    // Where a login stands in the text, any part of it may be the password's.
    throw new InvalidArgumentError(
      text.includes('@')
        ? 'Expected HOST or HOST:PORT alone: credentials come from docker login, or by --username and --password-stdin.'
        : `Expected HOST or HOST:PORT, without a scheme or a path: ${withoutLogin(wrong)}`,
    );
  return names;
}

/** True where CI is set to anything but an empty value, 0, false, no or off, as the build services have it. */
export function isBuildMachine({ CI = '' }: Readonly<Record<string, string | undefined>>): boolean {
  return !/^(?:|0|false|no|off)$/i.test(CI);
}
