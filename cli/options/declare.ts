import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { printable } from '../../base/printable.ts';
import { bytes, hosts, list, path, seconds, wholeNumber } from './environment.ts';

/**
 * An option of a command, declared in one place: flag, help, range and default. The environment variable follows from the
 * flag: `--url-pattern` is PLUGIN_MIRROR_URL_PATTERN.
 */
export interface Declared<Value> {
  readonly option: Option;
  /** The name of the option of which this one is a former spelling. */
  readonly aliasOf?: string;
  /** Only for the type of the value; never set. */
  readonly value?: Value;
}

/** The values of declared options, as commander passes them to a command. */
export type ValuesOf<Options extends Readonly<Record<string, Declared<unknown>>>> = {
  readonly [Name in keyof Options]: Options[Name] extends Declared<infer Value> ? Value : never;
};

/** A text; undefined if it is not given and has no default. */
export function text(flag: string, help: string): Declared<string | undefined>;
export function text(flag: string, help: string, byDefault: string): Declared<string>;
export function text(flag: string, help: string, byDefault?: string): Declared<string | undefined> {
  return { option: withDefault(declare(flag, help), byDefault) };
}

/** A path on this machine, not a URL; undefined if it is not given and has no default. */
export function file(flag: string, help: string): Declared<string | undefined>;
export function file(flag: string, help: string, byDefault: string): Declared<string>;
export function file(flag: string, help: string, byDefault?: string): Declared<string | undefined> {
  return { option: withDefault(declare(flag, help).argParser(path), byDefault) };
}

/** A size: bytes, or a number with K, M, G or T (powers of 1024). The value is in bytes; undefined if it is not given. */
export function size(flag: string, help: string): Declared<number | undefined> {
  return { option: declare(flag, help).argParser(bytes) };
}

/** A former spelling of a path's option. It is accepted with its variable, and not shown. */
export function formerFile(flag: string, aliasOf: string): Declared<undefined> {
  const option = declare(flag, `the same as --${aliasOf}`).argParser(path).hideHelp();
  return { option, aliasOf };
}

type Range = readonly [least: number, most: number];

/** A whole number within a range. */
export function count(flag: string, help: string, [least, most]: Range, byDefault: number): Declared<number> {
  return { option: declare(flag, help).argParser(wholeNumber(least, most)).default(byDefault) };
}

/** A duration in seconds, fractions allowed. The value is in milliseconds; undefined if it is not given and has no default. */
export function duration(flag: string, help: string, range: Range): Declared<number | undefined>;
export function duration(flag: string, help: string, range: Range, byDefaultSeconds: number): Declared<number>;
export function duration(
  flag: string,
  help: string,
  [least, most]: Range,
  byDefaultSeconds?: number,
): Declared<number | undefined> {
  const option = declare(`${flag} <seconds>`, help).argParser(seconds(least, most));
  if (byDefaultSeconds === undefined) return { option };
  return { option: option.default(byDefaultSeconds * 1000, String(byDefaultSeconds)) };
}

/** One of several words. */
export function choice<Word extends string>(
  flag: string,
  help: string,
  words: readonly Word[],
  byDefault: Word,
): Declared<Word> {
  return { option: declare(flag, help).choices(words).default(byDefault) };
}

/** A value that `parse` reads. `parse` throws an InvalidArgumentError for a text that it does not accept. */
export function parsed<Value>(
  flag: string,
  help: string,
  parse: (given: string) => Value,
  byDefault: Value,
  shownDefault?: string,
): Declared<Value> {
  return { option: declare(flag, help).argParser(parse).default(byDefault, shownDefault) };
}

/** A flag without a value. */
export function toggle(flag: string, help: string): Declared<boolean | undefined> {
  return { option: declare(flag, help) };
}

/** A flag `--no-NAME` that turns NAME off, which is on by default. */
export function negated(flag: string, help: string): Declared<boolean> {
  return { option: declare(flag, help) };
}

/** A flag without a value and without a variable, because its effect is meant for this one call only. */
export function action(flag: string, help: string): Declared<boolean | undefined> {
  return { option: new Option(flag, help) };
}

/** A list: the flag may be repeated, and the variable separates its values by commas or spaces. */
export function several(flag: string, help: string): Declared<readonly string[] | undefined> {
  return { option: declare(flag, help).argParser(list) };
}

/** A list option whose values are optional: without values it is `true`, which means all. */
export function severalOrAll(flag: string, help: string): Declared<readonly string[] | true | undefined> {
  return { option: declare(flag, help).argParser(list) };
}

/** As severalOrAll, for registries: each value is HOST or HOST:PORT. */
export function hostsOrAll(flag: string, help: string): Declared<readonly string[] | true | undefined> {
  return { option: declare(flag, help).argParser(hosts) };
}

/** A list of registries, each HOST or HOST:PORT. */
export function severalHosts(flag: string, help: string): Declared<readonly string[] | undefined> {
  return { option: declare(flag, help).argParser(hosts) };
}

/** Adds all options of a table to a command. */
export function addOptions(command: Command, options: Readonly<Record<string, Declared<unknown>>>): Command {
  for (const { option, aliasOf } of Object.values(options)) {
    command.addOption(option);
    if (aliasOf !== undefined) followAlias(command, option, aliasOf);
  }
  return command;
}

/** The value of a former spelling becomes that of the option. The variable of the present name takes precedence. */
function followAlias(command: Command, option: Option, name: string): void {
  const key = option.attributeName();
  const isGiven = (each: string) => command.getOptionValueSource(each) === 'cli';
  const requireSame = (): void => {
    const [former, present] = [command.getOptionValue(key), command.getOptionValue(name)] as [string, string];
    if (isGiven(key) && isGiven(name) && resolve(former) !== resolve(present))
      command.error(
        `error: --${option.name()} ${printable(former)} and --${name} ${printable(present)} name different folders: ` +
          `--${option.name()} is the former name of --${name}; give one of them`,
      );
  };
  command.on(`option:${option.name()}`, () => {
    requireSame();
    command.setOptionValueWithSource(name, command.getOptionValue(key), 'cli');
  });
  command.on(`option:${name}`, requireSame);
  command.on(`optionEnv:${option.name()}`, () => {
    if (command.getOptionValueSource(name) === 'default')
      command.setOptionValueWithSource(name, command.getOptionValue(key), 'env');
  });
}

function declare(flag: string, help: string): Option {
  const option = new Option(flag, help);
  return option.env(`PLUGIN_MIRROR_${option.name().replaceAll('-', '_').toUpperCase()}`);
}

function withDefault(option: Option, byDefault: string | undefined): Option {
  return byDefault === undefined ? option : option.default(byDefault);
}
