import { Refusal } from '../../base/refusal.ts';
import type { ServerEvent } from '../../server/events.ts';

export const LOG_LEVELS = ['error', 'warn', 'info'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** A server's event as a line for people. */
export function describeEvent(event: ServerEvent): { readonly level: LogLevel; readonly line: string } {
  switch (event.kind) {
    case 'tree-loaded': {
      const size = `${(event.sizeBytes / 1e6).toFixed(1)} MB`;
      return info(`tree ${event.tree}: ${event.plugins} plugins, ${event.versions} versions, ${size}`);
    }
    case 'tree-missing':
      return warn(treeMissing(event));
    case 'tree-unreadable': {
      const now = event.serving ? 'what was read before is served on' : 'answering 503';
      return { level: 'error', line: `the tree cannot be read, ${now}: ${reasonOf(event.error)}` };
    }
    case 'tree-back':
      return info(`the tree is back in ${event.treeDir}, as it was`);
    case 'content': {
      const files = `${event.paths.join(', ')} (sha256 ${event.sha256})`;
      if (event.state === 'whole') return info(`${files}: on disk it is whole again`);
      const { level, served } = TROUBLES[event.state];
      return { level, line: `${files}: ${FAULTS[event.fault]}; ${served}` };
    }
    case 'tls-loaded':
      return info('another certificate is shown from now on');
    case 'tls-unusable':
      return warn(`${String(event.error)}; the former certificate is shown on`);
    case 'failure':
      return { level: 'error', line: `${event.url}: ${String(event.error)}` };
  }
}

function treeMissing({ treeDir, why, serving }: Extract<ServerEvent, { kind: 'tree-missing' }>): string {
  const when = serving ? 'any more' : 'yet';
  const what = {
    'no-folder': `there is no folder ${treeDir} ${when}`,
    'not-a-folder': `${treeDir} is no folder`,
    'no-catalog': `no index.json in ${treeDir} ${when}`,
    'no-plugins': `index.json in ${treeDir} names no plugin yet`,
  }[why];
  if (serving) return `${what}; files that are open or in memory are served on`;
  return why === 'not-a-folder'
    ? `${what}; answering 503 until one that \`plugin-mirror sync\` has filled takes its place`
    : `${what}; answering 503 until \`plugin-mirror sync\` has put one there`;
}

/** On one line: what a refusal says, and what to do about it. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Refusal)) return String(error);
  const found = error.found === undefined ? '' : `; found ${error.found}`;
  return `${error.code}: ${error.message}${found}. ${error.hint}`;
}

const TROUBLES = {
  damaged: { level: 'error', served: 'answering 503' },
  'copy-damaged': { level: 'error', served: 'the right bytes are served from another copy' },
  displaced: { level: 'warn', served: 'serving the file that is still open' },
} as const;

const FAULTS = {
  gone: 'it is gone from the disk',
  forbidden: 'this user may not read it (EACCES)',
  'no-file': 'what lies there is no file within the tree (a link, a folder or the like)',
  replaced: 'another file lies there now',
  altered: 'on disk it has other bytes than the catalog names',
  unreadable: 'the disk or the system failed to read it',
} as const;

function info(line: string): { level: LogLevel; line: string } {
  return { level: 'info', line };
}

function warn(line: string): { level: LogLevel; line: string } {
  return { level: 'warn', line };
}
