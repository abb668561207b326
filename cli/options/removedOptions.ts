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
