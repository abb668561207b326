import type { Command } from 'commander';
import { removedVariable } from './removedOptions.ts';

const PREFIX = 'PLUGIN_MIRROR_';
/** Read without an option of theirs, for what they hold is nobody else's business. */
const SECRETS = ['PASSWORD', 'AUTH_TOKEN', 'AUTH_PASSWORD'];
/** What Kubernetes sets in each pod for Services whose names begin with `plugin-mirror`, and what the tests read. */
const OTHERS = /^(?:.+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_.+)?)$|^TEST_/;

/**
 * Tells each variable that looks like a slip of the pen (unknown here, and near a known one) and each that belongs to a
 * removed option. Values are not shown.
 * @returns nothing to wait for where there is none
 */
export function tellUnknownVariables(
  program: Command,
  env: NodeJS.ProcessEnv,
  tell: (line: string) => void,
): Promise<void> | undefined {
  const names = Object.keys(env).filter(name => /^PLUGIN_MIRROR_\w{2,64}$/.test(name));
  if (names.length === 0) return undefined;
  const known = [...variablesOf(program), ...SECRETS];
  const unknown = names.filter(name => {
    const own = name.slice(PREFIX.length);
    return !known.includes(own) && !OTHERS.test(own) && !/^(?:tcp|udp|sctp):\/\//.test(env[name] ?? '');
  });
  return unknown.length === 0 ? undefined : tellNear(unknown, known, tell);
}

async function tellNear(
  names: readonly string[],
  known: readonly string[],
  tell: (line: string) => void,
): Promise<void> {
  const { misspelled } = await import('../../base/nearest.ts');
  for (const name of names) {
    const removed = removedVariable(name);
    if (removed !== undefined) {
      tell(`warning: ${removed}`);
      continue;
    }
    const meant = misspelled(name.slice(PREFIX.length), known);
    if (meant !== undefined) tell(`warning: ${name} is not known; did you mean ${PREFIX}${meant}?`);
  }
}

function variablesOf(command: Command): string[] {
  return [
    ...command.options.flatMap(({ envVar }) => (envVar?.startsWith(PREFIX) ? [envVar.slice(PREFIX.length)] : [])),
    ...command.commands.flatMap(variablesOf),
  ];
}
