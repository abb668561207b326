import { countOutcomes, hasChanged, type Outcome, type SyncReport } from '../../mirror/report.ts';
import { errorJson } from '../render/jsonErrors.ts';

/** The one object that `sync --format json` prints; `schemaVersion` rises when a reader would break. */
export function syncJson(report: SyncReport): object {
  const { tree, outcomes, drift, extras, unverified, problems, interrupted, bytesDownloaded, requests, durationMs } =
    report;
  return {
    schemaVersion: 1,
    tree,
    changed: hasChanged(report),
    plugins: outcomes.map(pluginJson),
    drift,
    extras,
    ...(unverified.length === 0 ? {} : { unverified }),
    ...(problems.length === 0 ? {} : { errors: problems.map(errorJson) }),
    ...(interrupted ? { interrupted } : {}),
    totals: { ...countOutcomes(report), bytesDownloaded, requests, durationMs },
  };
}

function pluginJson({ error, warnings, change: _, ...outcome }: Outcome): object {
  return {
    ...outcome,
    ...(warnings.length === 0 ? {} : { warnings }),
    ...(error === undefined ? {} : { error: errorJson(error) }),
  };
}
