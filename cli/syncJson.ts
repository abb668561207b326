import { countOutcomes, type Outcome, type SyncReport } from '../mirror/report.ts';
import { Refusal } from '../refusal/refusal.ts';
import { Interrupted } from './interruptible.ts';

/** The one object that `sync --format json` prints; `schemaVersion` rises when a reader would break. */
export function syncJson(report: SyncReport): object {
  const { tree, outcomes, drift, extras, unverified, problems, interrupted, bytesDownloaded, requests, durationMs } =
    report;
  return {
    schemaVersion: 1,
    tree,
    plugins: outcomes.map(pluginJson),
    drift,
    extras,
    ...(unverified.length === 0 ? {} : { unverified }),
    ...(problems.length === 0 ? {} : { errors: problems.map(errorJson) }),
    ...(interrupted ? { interrupted } : {}),
    totals: { ...countOutcomes(report), bytesDownloaded, requests, durationMs },
  };
}

function pluginJson({ error, warnings, ...outcome }: Outcome): object {
  return {
    ...outcome,
    ...(warnings.length === 0 ? {} : { warnings }),
    ...(error === undefined ? {} : { error: errorJson(error) }),
  };
}

/** An error as every command's JSON has it. */
export function errorJson(error: unknown): object {
  if (error instanceof Interrupted)
    return { code: 'INTERRUPTED', message: error.message, hint: 'Run it again: it goes on from what is there.' };
  if (!(error instanceof Refusal)) {
    const message = error instanceof Error ? error.message : String(error);
    return { code: 'INTERNAL', message, hint: 'This is a fault in plugin-mirror, please report it.' };
  }
  const { code, message, hint, subject, expected, found, registrySaid } = error;
  const problems = 'problems' in error ? { problems: error.problems } : {};
  return { code, message, hint, subject, expected, found, registrySaid, ...problems };
}
