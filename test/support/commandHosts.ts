import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { compiled, ENTRY, IS_OWN_BUILD } from './build.ts';
import { RUNS_SLOW } from './slow.ts';

/** What a host is to run. */
export interface Command {
  readonly args: readonly string[];
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly input?: string;
}

export interface Outcome {
  readonly code: number;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  /** What the command changed in its process and did not restore. */
  readonly left: string | undefined;
}

/** Node.js and its libraries read these when a process starts. */
const AT_START = /^(?:NODE_|SSL_|OPENSSL_|UV_|ICU_|TZ$|LANG|LC_)/;
/** Of one process, so that what commands leave in memory stays little. */
const MAX_COMMANDS = 100;

const idle: CommandHost[] = [];

/** Whether a command with this environment needs no process of its own. */
export function isHosted(env: NodeJS.ProcessEnv): boolean {
  return !RUNS_SLOW && IS_OWN_BUILD && !Object.keys(env).some(name => AT_START.test(name));
}

/**
 * Runs the command to its end in a process that has its modules loaded, and that runs one command at a time. A process of its
 * own takes half a second to load them.
 *
 * @param limitMs after which the process is killed; the exit code is null then
 */
export async function runHosted(command: Command, limitMs: number): Promise<Outcome | undefined> {
  const host = idle.pop() ?? new CommandHost();
  const outcome = await host.run(command, limitMs);
  if (outcome === undefined) return undefined;
  if (outcome.left !== undefined) throw new Error(`plugin-mirror ${command.args.join(' ')} left ${outcome.left}`);
  if (host.commands < MAX_COMMANDS) idle.push(host);
  else host.end();
  return outcome;
}

class CommandHost {
  commands = 0;
  readonly #child: ChildProcess;
  readonly #ready: Promise<unknown>;
  readonly #ended: Promise<never>;

  constructor() {
    const child = fork(compiled('test/support/commandHost.ts'), [ENTRY], {
      execArgv: ['--no-warnings'],
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child = child;
    this.#ready = once(child, 'message');
    this.#ended = once(child, 'exit').then(([code, signal]) => {
      if (idle.includes(this)) idle.splice(idle.indexOf(this), 1);
      throw new Error(`it ended the process that it ran in: ${code ?? signal}`);
    });
    this.#ended.catch(() => undefined);
  }

  /** Returns undefined if the command took too long. @throws if the process ended */
  async run(command: Command, limitMs: number): Promise<Outcome | undefined> {
    const child = this.#child;
    this.commands += 1;
    this.#keepTestsAlive(true);
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
    }, limitMs);
    try {
      await Promise.race([this.#ready, this.#ended]);
      child.send(command);
      const [outcome] = (await Promise.race([once(child, 'message'), this.#ended])) as [Outcome];
      return outcome;
    } catch (error) {
      if (isLate) return undefined;
      throw error;
    } finally {
      clearTimeout(timer);
      this.#keepTestsAlive(false);
    }
  }

  end(): void {
    this.#child.disconnect();
  }

  #keepTestsAlive(does: boolean): void {
    this.#child[does ? 'ref' : 'unref']();
    this.#child.channel?.[does ? 'ref' : 'unref']();
  }
}
