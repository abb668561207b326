import process from 'node:process';
import { printableValue } from '../../base/printable.ts';
import { causeKeyOf, rootOf } from '../../base/refusal.ts';
import { formatBytes, plural } from '../../base/words.ts';
import { withoutSubject } from '../../mirror/report.ts';
import type { SyncEvent, SyncListener } from '../../mirror/session.ts';
import { printTo, wantsColor } from '../render/print.ts';

/** Shows a run's progress: live on a terminal, else in plain lines. With `debug`, lines for requests would break the live part. */
export async function showProgress(
  out: NodeJS.WriteStream,
  {
    logLevel,
    progress: kind,
    quiet,
  }: { readonly logLevel: string; readonly progress: 'auto' | 'plain'; readonly quiet?: boolean | undefined },
): Promise<{ hear: SyncListener; stop: () => void }> {
  if (quiet) return { hear: () => undefined, stop: () => undefined };
  if (kind === 'auto' && out.isTTY && process.env.TERM !== 'dumb' && logLevel !== 'debug') {
    const { SyncProgress } = await import('./progress.ts');
    const progress = new SyncProgress(out, wantsColor(out));
    return { hear: event => progress.hear(printableValue(event)), stop: () => progress.stop() };
  }
  const lineOf = syncLines();
  const hear: SyncListener = event => {
    const line = lineOf(printableValue(event));
    if (line !== undefined) printTo(out, `${line}\n`);
  };
  return { hear, stop: () => undefined };
}

/**
 * Returns the plain form of a run's progress, for logs: a line for each version that is done, and for all else that an
 * operator needs to see. A cause of failure and a reason to retry get a line when they first appear; the summary counts
 * the plugins that they hit.
 */
export function syncLines(): (event: SyncEvent) => string | undefined {
  const shown = new Set<string>();
  const once = (key: string, line: string): string | undefined => {
    if (shown.has(key)) return undefined;
    shown.add(key);
    return line;
  };
  return event => {
    if (event.type === 'retry') {
      const { subject, attempt, delayMs, reason } = event;
      const line = `retry ${attempt}: ${subject}: ${reason}; again in ${(delayMs / 1000).toFixed(1)} s`;
      return once(`retry ${subject.split('/')[0]} ${reason}`, line);
    }
    if (event.type === 'finished' && event.outcome.error !== undefined) {
      const { name, version, error } = event.outcome;
      const message = withoutSubject(rootOf(error).message, event.outcome);
      return once(causeKeyOf(error), `failed   ${name} ${version}: ${message}`);
    }
    return lineOf(event);
  };
}

function lineOf(event: SyncEvent): string | undefined {
  if (event.type === 'waiting') return event.message;
  if (event.type === 'warning') return `warning: ${event.subject}: ${event.message}`;
  if (event.type === 'planned') {
    const { fetch, keep, sizeBytes } = event;
    const size = sizeBytes === 0 ? '' : ` (up to ${formatBytes(sizeBytes)})`;
    return fetch + keep === 0 ? undefined : `${fetch} to fetch${size}, ${keep} to keep`;
  }
  if (event.type === 'compressing') return `compressing ${plural(event.versions, 'module')}`;
  if (event.type === 'pruning')
    return `pruning ${event.extras.map(extra => `${extra.name}/${extra.version}`).join(', ')}`;
  if (event.type !== 'finished') return undefined;
  const { status, name, version, sizeBytes, aliasOf } = event.outcome;
  return `${status.padEnd(8)} ${name} ${version}  ${aliasOf === undefined ? formatBytes(sizeBytes ?? 0) : `→ ${aliasOf}`}`;
}
