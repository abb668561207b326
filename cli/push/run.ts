import process from 'node:process';
import pc from 'picocolors';
import { printableValue } from '../../base/printable.ts';
import { formatBytes, plural } from '../../base/words.ts';
import type { OpenBundle } from '../../mirror/bundle/openBundle.ts';
import { type PushReport, pushImages } from '../../mirror/bundle/pushImages.ts';
import { readPluginManifest, requirePrefix } from '../../mirror/manifest/readManifest.ts';
import { Session } from '../../mirror/session.ts';
import { jobToInspect, selectVersions } from '../../mirror/sync/sync.ts';
import { openPusher } from '../../registry/push/openPusher.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { EXIT, failureOf } from '../exit.ts';
import { openerOf, openFrom } from '../options/openerOf.ts';
import type { PushFlags } from '../options/tables.ts';
import { wantsColor } from '../render/colors.ts';
import { renderFailures } from '../render/failures.ts';
import { formatDuration } from '../render/format.ts';
import { errorJson } from '../render/jsonErrors.ts';
import { printError, printJson, printText } from '../render/print.ts';
import { showProgress } from '../sync/showProgress.ts';

interface PushRun {
  /** `HOST[/PREFIX]`, as the user wrote it. */
  readonly target: string;
  readonly flags: PushFlags;
  /** The manifest that the user named; undefined: that of --from, else manifest.json. */
  readonly manifestPath: string | undefined;
  readonly registryOptions: RegistryOptions;
  readonly signal: AbortSignal;
}

/** `plugin-mirror push`, once its arguments are read. Returns the exit code. */
export async function runPush(run: PushRun): Promise<number> {
  const { flags, manifestPath } = run;
  const target = requirePrefix(run.target.replace(/^oci:\/\//, '').replace(/\/+$/, ''));
  const from = flags.from === undefined ? undefined : await openFrom(flags.from, flags, manifestPath);
  try {
    return await pushFrom(run, target, from);
  } finally {
    await from?.close();
  }
}

async function pushFrom(
  { flags, registryOptions, signal }: PushRun,
  target: ReturnType<typeof requirePrefix>,
  from: OpenBundle | undefined,
): Promise<number> {
  const started = performance.now();
  const { registry, platform, only = from?.only ?? [], concurrency } = flags;
  const manifest = from?.manifest ?? (await readPluginManifest(flags.manifest));
  const selection = selectVersions(manifest, { only, registry, platform });
  const job = {
    ...jobToInspect(manifest, { dir: '', lock: from === undefined ? flags.lock : undefined, concurrency }),
    ...(from && { bundle: { path: from.layout.path, requires: from.requires, lacking: from.lacking } }),
    selection,
  };
  const out = flags.format === 'json' ? process.stderr : process.stdout;
  const progress = await showProgress(out, flags);
  // The login on the command line is for the target; the source has those of docker and podman.
  const { username: _, password: __, ...source } = registryOptions;
  const session = new Session({
    openRegistry: openerOf(manifest, source, registry, from?.layout),
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
