import { setMaxListeners } from 'node:events';
import process from 'node:process';
import type { Command } from 'commander';
import type { RegistryOptions } from '../registry/registry.ts';
import type { RegistryFlags } from './options/tables.ts';
import { errorJson } from './render/errors.ts';
import { printJson } from './render/print.ts';
import type { Collect, ReportFlags } from './report/reporting.ts';

/** The abort reason of a run that Ctrl-C, SIGTERM or SIGHUP ended. */
class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

const STOPPING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** An error with which a run is aborted after a time. */
type Deadline = Error & { readonly deadlineMs: number };

/**
 * Runs work that can be stopped. A first Ctrl-C, SIGTERM or SIGHUP (the terminal was closed) aborts the signal: the work
 * completes the files that it is publishing and reports what it finished. A second one ends the process immediately, which
 * publishing survives as well. A deadline aborts the signal in the same way, with itself as the reason.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>, deadline?: Deadline): Promise<T> {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal); // every request of a run adds a listener
  const stop = () => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Interrupted('interrupted'));
  };
  const alarm = deadline === undefined ? undefined : setTimeout(() => controller.abort(deadline), deadline.deadlineMs);
  for (const name of STOPPING) process.on(name, stop);
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(alarm);
    for (const name of STOPPING) process.off(name, stop);
  }
}

/**
 * Runs a command and sets the exit code that it returns. With `--format json`, a command that fails before it has a report
 * prints one object with its error on stdout. The error is thrown again, for stderr and the exit code.
 */
export async function withJsonErrors(format: 'text' | 'json', work: () => Promise<number | undefined>): Promise<void> {
  try {
    process.exitCode = await work();
  } catch (error) {
    if (format === 'json') printJson({ schemaVersion: 1, error: errorJson(error) });
    throw error;
  }
}

export interface RegistryRun {
  readonly registryOptions: RegistryOptions;
  readonly signal: AbortSignal;
}

type FormatFlags = RegistryFlags & { readonly format: 'text' | 'json' };

/** Runs a command that connects to registries. */
export function runWithRegistry(flags: FormatFlags, work: (run: RegistryRun) => Promise<number>): Promise<void> {
  return withJsonErrors(flags.format, () => withRegistry(flags, work));
}

/** Runs a command that connects to registries and reports to CI. */
export async function runReported(
  command: string,
  flags: FormatFlags & ReportFlags,
  work: (run: RegistryRun & { readonly collect: Collect }) => Promise<number>,
  deadline?: Deadline,
): Promise<void> {
  const { withReport } = await import('./report/reporting.ts');
  await withJsonErrors(flags.format, () =>
    withReport(command, flags, collect => withRegistry(flags, run => work({ ...run, collect }), deadline)),
  );
}

async function withRegistry(
  flags: RegistryFlags,
  work: (run: RegistryRun) => Promise<number>,
  deadline?: Deadline,
): Promise<number> {
  return interruptible(async signal => {
    const { registryOptions } = await import('./options/registryOptions.ts');
    return work({ registryOptions: await registryOptions(flags, signal), signal });
  }, deadline);
}

/** Returns the manifest that the user named, on the command line or by the variable. */
export function namedManifest(command: Command): string | undefined {
  return command.getOptionValueSource('manifest') === 'default' ? undefined : command.getOptionValue('manifest');
}
