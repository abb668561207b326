import type { Command } from 'commander';
import { removedVariable } from './removedOptions.ts';

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
