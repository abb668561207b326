import process from 'node:process';
import pc from 'picocolors';
import { printableValue } from '../../base/printable.ts';
import { formatBytes, plural } from '../../base/words.ts';
import { type PushReport, pushImages } from '../../mirror/bundle/pushImages.ts';
import { requirePrefix } from '../../mirror/manifest/readManifest.ts';
import { Session } from '../../mirror/session.ts';
import { makeJob } from '../../mirror/sync/sync.ts';
import { openPusher } from '../../registry/push/openPusher.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { EXIT, failureOf } from '../exit.ts';
import { openerOf, type Source, withSource } from '../options/source.ts';
import type { PushFlags } from '../options/tables.ts';
import { errorJson, renderFailures } from '../render/errors.ts';
import { printError, printJson, printText, wantsColor } from '../render/print.ts';
import { formatDuration } from '../render/text.ts';
import type { RegistryRun } from '../runCommand.ts';
import { showProgress } from '../sync/showProgress.ts';

interface PushRun extends RegistryRun {
  /** `HOST[/PREFIX]`, as the user wrote it. */
  readonly target: string;
  readonly flags: PushFlags;
  /** The manifest that the user named. */
  readonly named: string | undefined;
}

/** `plugin-mirror push`, once its arguments are read. Returns the exit code. */
export async function runPush(run: PushRun): Promise<number> {
  const target = requirePrefix(run.target.replace(/^oci:\/\//, '').replace(/\/+$/, ''));
  return withSource(run.flags, run.named, source => pushFrom(run, target, source));
}

async function pushFrom(
  { flags, registryOptions, signal }: PushRun,
  target: ReturnType<typeof requirePrefix>,
  source: Source,
): Promise<number> {
  const started = performance.now();
  const { registry, platform, lock, only = source.only, concurrency } = flags;
  const { manifest, bundle } = source;
  const job = makeJob(manifest, { dir: '', lock, only, registry, platform, concurrency, bundle });
  const out = flags.format === 'json' ? process.stderr : process.stdout;
  const progress = await showProgress(out, flags);
  // The login on the command line is for the target; the source has those of docker and podman.
  const { username: _, password: __, ...readOptions } = registryOptions;
  const session = new Session({
    openRegistry: openerOf(source, readOptions, registry),
    signal,
    onEvent: progress.hear,
  });
  const onEvent: RegistryOptions['onEvent'] = event => {
    if (event.type !== 'bytes') progress.hear(event);
  };
  const pusher = openPusher({ ...registryOptions, credentialsFor: [target.registry], onEvent });
  let report: PushReport;
  try {
    const { force = false, dryRun = false, referrers: attachments } = flags;
    report = await pushImages(job, { pusher, ...target, force, dryRun, attachments }, session);
  } finally {
    progress.stop();
    await Promise.all([pusher.close(), session.registry.close()]);
  }
  const { requests, bytesUploaded } = pusher.traffic;
  const totals = { ...countsOf(report), bytesUploaded, requests, durationMs: Math.round(performance.now() - started) };
  const failures = report.outcomes.flatMap(({ name, version, error }) => (error ? [{ name, version, error }] : []));
  const lines = renderFailures(failures, pc.createColors(wantsColor(process.stderr)));
  printError(lines.map(line => `${line}\n`).join(''));
  printText(render(printableValue(report), totals, flags.dryRun === true, wantsColor(out)), out);
  if (flags.format === 'json') printJson(json(report, totals));
  return failureOf(failures.map(({ error }) => error)) ?? EXIT.good;
}

interface Totals {
  readonly pushed: number;
  readonly kept: number;
  readonly failed: number;
  readonly bytesUploaded: number;
  readonly requests: number;
  readonly durationMs: number;
}

function countsOf({ outcomes }: PushReport): Pick<Totals, 'pushed' | 'kept' | 'failed'> {
  const count = (wanted: string): number => outcomes.filter(({ status }) => status === wanted).length;
  return { pushed: count('pushed'), kept: count('kept'), failed: count('failed') };
}

function render(report: PushReport, totals: Totals, isDry: boolean, color: boolean): string {
  const paint = pc.createColors(color);
  const { pushed, kept, failed, bytesUploaded, requests, durationMs } = totals;
  const lines = report.outcomes.flatMap(({ status, reference }) =>
    status === 'pushed' ? [`${isDry ? 'to push' : 'pushed '}  ${reference}`] : [],
  );
  const parts = [
    `${pushed} ${isDry ? 'to push' : 'pushed'}`,
    `${kept} there already`,
    ...(failed === 0 ? [] : [`${failed} failed`]),
    `${formatBytes(bytesUploaded)} in ${formatDuration(durationMs)}, ${plural(requests, 'request')}`,
  ];
  const mark = failed === 0 ? paint.green('✓') : paint.red('✗');
  const head = paint.bold(`${pushed + kept} of ${report.outcomes.length}`);
  return `${[...lines, `${mark} ${head}  ${parts.join(' · ')}`].join('\n')}\n`;
}

function json({ outcomes, uploadedBlobs, mountedBlobs }: PushReport, totals: Totals): object {
  return {
    schemaVersion: 1,
    images: outcomes.map(({ error, ...rest }) => ({ ...rest, ...(error && { error: errorJson(error) }) })),
    totals: { ...totals, uploadedBlobs, mountedBlobs },
  };
}
