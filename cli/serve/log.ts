import process from 'node:process';
import { printable } from '../../base/printable.ts';
import { Refusal } from '../../base/refusal.ts';
import { describeTreeProblem, type ServerEvent, type TreeProblem } from '../../server/events.ts';
import { exitCodeOf } from '../exit.ts';
import { printError, printLogLine } from '../render/print.ts';
import type { ServeFlags } from './options.ts';

const LEVELS = ['error', 'warn', 'info'] as const;
export type LogLevel = (typeof LEVELS)[number];

/** The messages of `serve` on stderr, as lines of text or of JSON. */
export class ServeLog {
  readonly #isJson: boolean;
  readonly #leastLevel: LogLevel;

  constructor({ logFormat, logLevel }: Pick<ServeFlags, 'logFormat' | 'logLevel'>) {
    this.#isJson = logFormat === 'json' || (logFormat === 'auto' && !process.stderr.isTTY);
    this.#leastLevel = logLevel;
  }

  write(level: LogLevel, message: string): void {
    if (LEVELS.indexOf(level) > LEVELS.indexOf(this.#leastLevel)) return;
    if (this.#isJson) this.#writeJson({ level, message });
    else printError(`plugin-mirror: ${printable(message)}\n`);
  }

  /** Sets the exit code and writes the error that ends the command as JSON. Rethrows it if the format is text. */
  fail(error: unknown): void {
    if (!this.#isJson) throw error;
    process.exitCode = exitCodeOf(error);
    if (!(error instanceof Refusal)) {
      this.#writeJson({
        level: 'error',
        message: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
      return;
    }
    const { code, message, subject, expected, found, hint } = error;
    this.#writeJson({ level: 'error', code, message, subject, expected, found, hint });
  }

  #writeJson(fields: Readonly<Record<string, string | undefined>>): void {
    printLogLine({ time: new Date().toISOString(), ...fields });
  }
}

/** Returns the log message for an event of the server. */
export function describeEvent(event: ServerEvent): { readonly level: LogLevel; readonly line: string } {
  switch (event.kind) {
    case 'tree-loaded': {
      const size = `${(event.sizeBytes / 1e6).toFixed(1)} MB`;
      return info(`tree ${event.tree}: ${event.plugins} plugins, ${event.versions} versions, ${size}`);
    }
    case 'tree-missing':
      return { level: 'warn', line: missingTree(event) };
    case 'tree-unreadable': {
      const now = event.serving ? 'the tree loaded before is still served' : 'requests get 503';
      return { level: 'error', line: `${describeTreeProblem(event)}, ${now}: ${reasonOf(event.error)}` };
    }
    case 'tree-back':
      return info(`the tree is back in ${event.treeDir}, unchanged`);
    case 'content': {
      const files = `${event.paths.join(', ')} (sha256 ${event.sha256})`;
      if (event.state === 'whole') return info(`${files}: the file on disk is whole again`);
      const { level, consequence } = STATES[event.state];
      return { level, line: `${files}: ${FAULTS[event.fault]}; ${consequence}` };
    }
    case 'few-descriptors':
      return {
        level: event.connections < FEW_CONNECTIONS ? 'warn' : 'info',
        line: `this process may open ${event.limit} files (ulimit -n): ${event.connections} connections and ${event.openFiles} files of the tree at a time`,
      };
    case 'images-incomplete': {
      const { images, of, path } = event;
      const names = `${images.slice(0, 3).join(', ')}${images.length > 3 ? ` and ${images.length - 3} more` : ''}`;
      return {
        level: 'warn',
        line: `${images.length} of ${of} images in ${path} are incomplete, and requests for what is missing get 404: ${names}; serve a whole bundle (this one is a delta, or blobs were lost)`,
      };
    }
    case 'tls-doubtful':
      return { level: 'warn', line: `${reasonOf(event.error)} Clients that verify the certificate will refuse it` };
    case 'tls-loaded':
      return info('new connections get the new certificate');
    case 'tls-unusable':
      return { level: 'error', line: `${reasonOf(event.error)} New connections still get the former certificate` };
    case 'credentials-loaded':
      return info('the new token or password is required from now on');
    case 'credentials-unusable':
      return { level: 'error', line: `${reasonOf(event.error)} The former token or password is still required` };
    case 'foreign-protocol':
      return {
        level: 'warn',
        line: `a client at ${event.client} speaks ${FOREIGN[event.protocol]} (reported once)`,
      };
    case 'no-http':
      return {
        level: 'warn',
        line: `a client at ${event.client} speaks no HTTP here: its connection begins with ${JSON.stringify(event.firstWord)} (reported once)`,
      };
    case 'slow-clients':
      return {
        level: 'warn',
        line: 'clients that read slowly fill the memory that this container has for connections: the quietest connections are cut',
      };
    case 'failure':
      return { level: 'error', line: `${event.url}: ${String(event.error)}` };
  }
}

function missingTree(problem: Extract<TreeProblem, { kind: 'tree-missing' }>): string {
  const what = describeTreeProblem(problem);
  if (problem.serving) return `${what}; files that are open or in memory are still served`;
  return problem.why === 'not-a-folder'
    ? `${what}; requests get 503 until a folder that \`plugin-mirror sync\` has filled replaces it`
    : `${what}; requests get 503 until \`plugin-mirror sync\` has published plugins there (or is --tree misspelled?)`;
}

/** Returns everything that a refusal says in one line. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Refusal)) return String(error);
  const found = error.found === undefined ? '' : `; found ${error.found}`;
  return `${error.code}: ${error.message}${found}. ${error.hint}`;
}

const FEW_CONNECTIONS = 256;

const FOREIGN = {
  'PROXY protocol': 'the PROXY protocol here, which this server does not support; turn it off in the load balancer',
  'HTTP/2': 'HTTP/2 here, but this server speaks HTTP/1.1; set the protocol of the cluster or upstream to HTTP/1.1',
  TLS: 'TLS here, but this port serves plain HTTP; use http:// or start the server with --tls-cert and --tls-key',
  'plain HTTP': 'plain HTTP here, but this port serves HTTPS; use https://',
} as const;

const STATES = {
  damaged: { level: 'error', consequence: 'requests get 503' },
  'copy-damaged': { level: 'error', consequence: 'the right bytes are served from another copy' },
  displaced: { level: 'warn', consequence: 'the file that is still open is served' },
} as const;

const FAULTS = {
  gone: 'the file is gone from the disk',
  forbidden: 'this user may not read the file (EACCES)',
  'no-file': 'the path is not a regular file within the tree (but a link, a folder or the like)',
  replaced: 'another file has replaced it',
  altered: 'the file on disk has other bytes than the catalog lists',
  unreadable: 'the disk or the system failed to read the file',
} as const;

function info(line: string): { level: LogLevel; line: string } {
  return { level: 'info', line };
}
