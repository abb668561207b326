import process from 'node:process';
import type { Command } from 'commander';
import { printable, printableLines } from '../../base/printable.ts';
import { withoutLogin } from '../../registry/reference.ts';
import { printJson, printLogLine } from '../render/print.ts';

/**
 * Reports an error in the command line in commander's words, without secrets: on stderr, and with `--format json` also on
 * stdout, as the same object that every other error has. With `--log-format json` stderr gets it as a line of the log.
 */
export function reportUsageError(text: string, write: (text: string) => void, command: Command): void {
  const shown = withTree(withoutSecrets(text, command), command);
  const message = shown.replace(/^error: /, '').trimEnd();
  const hint = `plugin-mirror ${command.name()} --help shows all options.`;
  if (wantsJson(command, '--log-format', process.env)) {
    const entry = { time: new Date().toISOString(), level: 'error', code: 'OPTION_INVALID', message, hint };
    printLogLine(entry);
  } else write(printableLines(shown));
  if (!wantsJson(command, '--format', process.env)) return;
  printJson({ schemaVersion: 1, error: { code: 'OPTION_INVALID', message, hint } });
}

/** Folders are named by options: `list plugins` means `list --tree plugins`. */
function withTree(message: string, command: Command): string {
  const [word] = command.args;
  const hasTree = command.options.some(({ long }) => long === '--tree');
  if (word === undefined || !hasTree || !message.startsWith('error: too many arguments')) return message;
  const isBundle = /\.tar(?:\.\d+|\.sha256)?$/.test(word) && command.options.some(({ long }) => long === '--bundle');
  const argument = /^[\w./~@:+-]+$/.test(word) ? word : isBundle ? 'FILE' : 'DIR';
  const hint = `plugin-mirror ${command.name()} ${isBundle ? '--bundle' : '--tree'} ${printable(withoutLogin(argument))}`;
  return `${message.trimEnd()}\n(Did you mean ${hint}?)\n`;
}

/** Commander may not have read the option yet. The last one on the command line counts, else the variable. */
export function wantsJson(command: Command, flag: string, env: NodeJS.ProcessEnv): boolean {
  const option = command.options.find(({ long }) => long === flag);
  if (option === undefined) return false;
  const words = command.parent?.args ?? [];
  const line = words.includes('--') ? words.slice(0, words.indexOf('--')) : words;
  const kinds = line.flatMap((word, at) =>
    word === flag ? [line[at + 1]] : word.startsWith(`${flag}=`) ? [word.slice(flag.length + 1)] : [],
  );
  return (kinds.length > 0 ? kinds.at(-1) : option.envVar && env[option.envVar]) === 'json';
}

const ECHOED = /(argument|value|unknown command) '(.*)'/s;
/** Users of docker write `--password` or `-p`, with the password in the same argument or the next. */
const PASSWORD = /^-(?:-pass(?:word|wd)?(?:-stdin)?$|p)/;

/** Commander repeats a wrong argument in its message. Returns the message without passwords and logins. */
export function withoutSecrets(message: string, command: Command): string {
  const [, option, suggestion = ''] = /^error: unknown option '(--?[^=:\s]*).*'(.*)$/s.exec(message) ?? [];
  if (option === undefined)
    return message.replace(ECHOED, (_, kind: string, text: string) => `${kind} '${printable(withoutLogin(text))}'`);
  // The text after a one-letter option is its value.
  const name = printable(/^-[^-]/.test(option) ? option.slice(0, 2) : option);
  const removed = removedFlag(command.name(), name);
  if (removed !== undefined) return `error: ${removed}\n`;
  if (!PASSWORD.test(name) || !readsPassword(command)) return `error: unknown option '${name}'${suggestion}`;
  return (
    `error: a password on the command line is not accepted, since every user of this machine can read it ('${name}');` +
    ' give it with --password-stdin or in PLUGIN_MIRROR_PASSWORD\n'
  );
}

function readsPassword(command: Command): boolean {
  return [command, ...command.commands].some(({ options }) => options.some(({ long }) => long === '--password-stdin'));
}

const CONSTANT = 'It is a constant now; no setup needed another value.';

/**
 * Options of earlier versions, by command and flag, with what to do instead. The flag is an error, its variable a warning. A
 * flag whose value is a constant now is a warning too, because the command does the same without it.
 */
const REMOVED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  serve: {
    '--workers': 'Run several replicas behind one Service instead; each uses one core.',
    '--max-queue': `${CONSTANT} Set --max-downloads to limit concurrent downloads.`,
    '--queue-timeout': `${CONSTANT} Set --max-downloads to limit concurrent downloads.`,
    '--max-connections': `${CONSTANT} Set --max-downloads to limit concurrent downloads.`,
    '--retry-after': CONSTANT,
    '--headers-timeout': CONSTANT,
    '--request-timeout': CONSTANT,
    '--keep-alive-timeout': CONSTANT,
    '--poll-interval': CONSTANT,
    '--check-interval': CONSTANT,
    '--verify-interval': CONSTANT,
    '--verify-rate': CONSTANT,
    '--cache-pinned': 'Versions with a pinned digest are always sent as immutable.',
    '--cache-other': 'Paths whose bytes may change are always sent with no-cache.',
    '--log-sample': 'Set --access-log errors to log fewer answers.',
  },
};

/** Returns the removed flags of a command that are ignored with a warning. Each takes a value. */
export function ignoredFlags(command: string): readonly string[] {
  return Object.entries(REMOVED[command] ?? {}).flatMap(([flag, instead]) =>
    instead.startsWith(CONSTANT) ? flag : [],
  );
}

/** Returns the message for a removed flag of a command, or undefined for any other flag. */
export function removedFlag(command: string, flag: string): string | undefined {
  const instead = REMOVED[command]?.[flag];
  return instead === undefined ? undefined : `removed: ${flag}. ${instead}`;
}

/** Returns the warning for the variable of a removed flag, or undefined for any other variable. */
export function removedVariable(variable: string): string | undefined {
  for (const flags of Object.values(REMOVED))
    for (const [flag, instead] of Object.entries(flags))
      if (variable === `PLUGIN_MIRROR_${flag.slice(2).replaceAll('-', '_').toUpperCase()}`)
        return `removed: ${variable}. ${instead}`;
  return undefined;
}

const PREFIX = 'PLUGIN_MIRROR_';
/** Variables without an option: a secret on a command line could be read by every user of the machine. */
const SECRETS = ['PASSWORD', 'AUTH_TOKEN', 'AUTH_PASSWORD'];
/** Variables that Kubernetes sets in each pod for Services whose names begin with `plugin-mirror`, and those of the tests. */
const OTHERS = /^(?:.+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_.+)?)$|^TEST_/;

/**
 * Warns of each variable that probably is a misspelled one, and of each that belongs to a removed option. Other unknown
 * variables may be the user's own. Values are not shown.
 * @returns undefined, and no promise, if there is nothing to warn of: the usual case stays synchronous
 */
export function warnOfUnknownVariables(
  program: Command,
  env: NodeJS.ProcessEnv,
  warn: (line: string) => void,
): Promise<void> | undefined {
  const names = Object.keys(env).filter(name => /^PLUGIN_MIRROR_\w{2,64}$/.test(name));
  if (names.length === 0) return undefined;
  const known = [...variablesOf(program), ...SECRETS];
  const unknown = names.filter(name => {
    const own = name.slice(PREFIX.length);
    return !known.includes(own) && !OTHERS.test(own) && !/^(?:tcp|udp|sctp):\/\//.test(env[name] ?? '');
  });
  return unknown.length === 0 ? undefined : warnOfNear(unknown, known, warn);
}

async function warnOfNear(
  names: readonly string[],
  known: readonly string[],
  warn: (line: string) => void,
): Promise<void> {
  const { misspelled } = await import('../../base/nearest.ts');
  for (const name of names) {
    const removed = removedVariable(name);
    if (removed !== undefined) {
      warn(`warning: ${removed}`);
      continue;
    }
    const meant = misspelled(name.slice(PREFIX.length), known);
    if (meant !== undefined) warn(`warning: ${name} is not known; did you mean ${PREFIX}${meant}?`);
  }
}

function variablesOf(command: Command): string[] {
  return [
    ...command.options.flatMap(({ envVar }) => (envVar?.startsWith(PREFIX) ? [envVar.slice(PREFIX.length)] : [])),
    ...command.commands.flatMap(variablesOf),
  ];
}
