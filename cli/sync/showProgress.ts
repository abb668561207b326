import process from 'node:process';
import { printableValue } from '../../base/printable.ts';
import type { SyncListener } from '../../mirror/session.ts';
import { wantsColor } from '../render/colors.ts';
import { printTo } from '../render/print.ts';
import { syncLines } from './lines.ts';

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
