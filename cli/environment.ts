import { type Command, InvalidArgumentError, type Option } from 'commander';

const YES = /^(?:1|true|yes|on)$/i;
const NO = /^(?:0|false|no|off|)$/i;

/**
 * Makes a command's environment forms behave as people expect before commander reads them: an empty variable is none, and
 * a switch is on for 1/true/yes/on and off for 0/false/no/off (commander alone takes any value for on, `false` included).
 */
export function applyEnvironment(command: Command, env: NodeJS.ProcessEnv): void {
  for (const option of command.options) {
    const name = option.envVar;
    const value = name === undefined ? undefined : env[name];
    if (name === undefined || value === undefined) continue;
    if (value === '') delete env[name];
    else if (option.isBoolean()) settleSwitch(command, option, name, value, env);
  }
}

function settleSwitch(command: Command, option: Option, name: string, value: string, env: NodeJS.ProcessEnv): void {
  if (NO.test(value)) delete env[name];
  else if (!YES.test(value))
    command.error(
      `error: ${name}=${value}: expected 1, true, yes or on, or 0, false, no or off (the environment form of ${option.long})`,
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

/** For options that may be given several times, and hold several values separated by commas in the environment. */
export function list(text: string, former: readonly string[] | undefined): string[] {
  return [
    ...(former ?? []),
    ...text
      .split(',')
      .map(part => part.trim())
      .filter(part => part !== ''),
  ];
}
