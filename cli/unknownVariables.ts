import type { Command } from 'commander';
import { closest, distance } from 'fastest-levenshtein';

const PREFIX = 'PLUGIN_MIRROR_';
/** Read without an option of theirs, for what they hold is nobody else's business. */
const SECRETS = ['PASSWORD', 'AUTH_TOKEN', 'AUTH_PASSWORD'];
/** What Kubernetes sets in each pod for Services whose names begin with `plugin-mirror`, and what the tests read. */
const OTHERS = /^(?:.+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_.+)?)$|^TEST_/;

/** A line for each variable that looks like a slip of the pen: unknown here, and near a known one. Values are not shown. */
export function unknownVariables(program: Command, env: NodeJS.ProcessEnv): string[] {
  const known = [...variablesOf(program), ...SECRETS];
  return Object.keys(env).flatMap(name => {
    const own = name.slice(PREFIX.length);
    if (!/^PLUGIN_MIRROR_\w{2,64}$/.test(name) || known.includes(own) || OTHERS.test(own)) return [];
    if (/^(?:tcp|udp|sctp):\/\//.test(env[name] ?? '')) return [];
    const near = closest(own.toUpperCase(), known);
    const allowed = Math.max(1, Math.floor(Math.max(own.length, near.length) / 3));
    if (distance(own.toUpperCase(), near) > allowed) return [];
    return [`warning: ${name} is not known; did you mean ${PREFIX}${near}?`];
  });
}

function variablesOf(command: Command): string[] {
  return [
    ...command.options.flatMap(({ envVar }) => (envVar?.startsWith(PREFIX) ? [envVar.slice(PREFIX.length)] : [])),
    ...command.commands.flatMap(variablesOf),
  ];
}
