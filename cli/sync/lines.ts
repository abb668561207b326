import type { SyncEvent } from '../../mirror/events.ts';
import { withoutSubject } from '../../mirror/report.ts';
import { formatBytes } from '../render/format.ts';

/** The plain form of a run's progress, for logs: a line when a version is done, and for what an operator would miss. */
export function syncLine(event: SyncEvent): string | undefined {
  if (event.type === 'waiting') return event.message;
  if (event.type === 'warning') return `warning: ${event.subject}: ${event.message}`;
  if (event.type === 'retry')
    return `retry ${event.attempt}: ${event.subject}: ${event.reason}; again in ${(event.delayMs / 1000).toFixed(1)} s`;
  if (event.type === 'planned')
    return `${event.fetch} to fetch (up to ${formatBytes(event.sizeBytes)}), ${event.keep} to keep`;
  if (event.type === 'compressing') return `compressing ${event.versions} modules`;
  if (event.type === 'pruning')
    return `pruning ${event.extras.map(extra => `${extra.name}/${extra.version}`).join(', ')}`;
  if (event.type !== 'finished') return undefined;
  const { status, name, version, sizeBytes, aliasOf, error } = event.outcome;
  if (error !== undefined) return `failed   ${name} ${version}: ${withoutSubject(error.message, event.outcome)}`;
  const detail = aliasOf === undefined ? formatBytes(sizeBytes ?? 0) : `→ ${aliasOf}`;
  return `${status.padEnd(8)} ${name} ${version}  ${detail}`;
}
