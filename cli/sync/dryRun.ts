import process from 'node:process';
import pc from 'picocolors';
import { printableValue } from '../../base/printable.ts';
import { causeKeyOf, rootOf } from '../../base/refusal.ts';
import { formatBytes } from '../../base/words.ts';
import type { Extra } from '../../mirror/report.ts';
import { Session } from '../../mirror/session.ts';
import { bytesToDownload, layerBytes, previewSync, type SyncJob, type SyncPlan } from '../../mirror/sync/sync.ts';
import { EXIT, failureOf } from '../exit.ts';
import { openerOf, type Source } from '../options/source.ts';
import { errorJson, type Failure, renderFailures, renderRefusal } from '../render/errors.ts';
import { printError, printJson, printText, wantsColor } from '../render/print.ts';
import { listed } from '../render/text.ts';
import type { SyncRun } from './flags.ts';
import { renderDrifts, renderWarnings } from './summary.ts';

/** `sync --dry-run`: prints the plan and what it would download. No folder, no lockfile and no cache is touched. */
export async function runDryRun(
  { flags, registryOptions, signal }: SyncRun,
  job: SyncJob,
  source: Source,
): Promise<number> {
  const { cacheDir: _, ...options } = registryOptions;
  const session = new Session({ openRegistry: openerOf(source, options, flags.registry), signal });
  try {
    const plan = await previewSync(job, session);
    const isText = flags.format === 'text';
    if (isText) printText(renderSteps(printableValue(plan)));
    else printJson(planJson(plan));
    const color = wantsColor(process.stderr);
    const failures: Failure[] = [
      ...plan.versions.flatMap(step => (step.action === 'fail' ? [{ ...step.wanted, error: step.error }] : [])),
      ...plan.aliases.flatMap(step =>
        step.action === 'fail' ? [{ ...step.alias, isAlias: true, error: step.error }] : [],
      ),
    ];
    printError(
      [
        ...plan.problems.map(problem => renderRefusal(problem, { color }).trimEnd()),
        ...renderFailures(failures, pc.createColors(color)),
      ]
        .map(line => `${line}\n`)
        .join(''),
    );
    if (isText) printText(renderTotals(plan));
    return failureOf([...failures.map(({ error }) => error), ...plan.problems]) ?? EXIT.good;
  } finally {
    await session.registry.close();
  }
}

/** The versions that the manifest does not name; `removed` is what --prune would remove. */
function extrasOf({ catalog }: SyncPlan): Extra[] {
  return [...catalog.pruned, ...catalog.staying].map(({ extra }) => extra);
}

function planJson(plan: SyncPlan): object {
  const { versions, aliases, drift, problems } = plan;
  const plugins = versions.map(step => {
    const { name, version } = step.wanted;
    if (step.action === 'keep') {
      const warnings = step.warnings.length === 0 ? {} : { warnings: step.warnings };
      return { name, version, action: 'keep', digest: step.metadata.digest, ...warnings };
    }
    if (step.action === 'fail') return { name, version, action: 'fail', error: errorJson(step.error) };
    const { digest, reason, because } = step;
    return { name, version, action: 'fetch', digest, reason, because, sizeBytes: layerBytes(step) };
  });
  const linked = aliases.map(step => {
    const { name, version, target } = step.alias;
    if (step.action === 'keep') return { name, version, action: 'keep', aliasOf: target };
    if (step.action === 'fail') return { name, version, action: 'fail', aliasOf: target, error: errorJson(step.error) };
    return { name, version, action: 'alias', aliasOf: target, because: step.because };
  });
  const count = (action: string) => [...plugins, ...linked].filter(it => it.action === action).length;
  return {
    schemaVersion: 1,
    dryRun: true,
    plugins: [...plugins, ...linked],
    drift,
    extras: extrasOf(plan).map(({ removed, ...it }) => ({ ...it, action: removed ? 'remove' : 'leave' })),
    ...(problems.length === 0 ? {} : { errors: problems.map(errorJson) }),
    totals: {
      fetch: count('fetch'),
      keep: count('keep'),
      alias: count('alias'),
      fail: count('fail'),
      bytesToDownload: bytesToDownload(versions),
    },
  };
}

/** A cause of failure has one line, however many versions it hits. */
function renderSteps(plan: SyncPlan): string {
  const paint = pc.createColors(wantsColor(process.stdout));
  const { versions, aliases, drift } = plan;
  const causes = new Set<string>();
  const lines: string[] = [];
  const fail = (subject: string, error: Error): void => {
    const cause = causeKeyOf(error);
    if (!causes.has(cause)) lines.push(`${paint.red('fail ')}  ${subject}  ${rootOf(error).message}`);
    causes.add(cause);
  };
  for (const step of versions) {
    const subject = `${step.wanted.name} ${step.wanted.version}`;
    if (step.action === 'fail') fail(subject, step.error);
    if (step.action === 'fetch')
      lines.push(`${paint.green('fetch')}  ${subject}  ${formatBytes(layerBytes(step))}  ${paint.dim(step.because)}`);
  }
  for (const step of aliases) {
    const subject = `${step.alias.name} ${step.alias.version} → ${step.alias.target}`;
    if (step.action === 'fail') fail(subject, step.error);
    if (step.action === 'alias') lines.push(`${paint.green('alias')}  ${subject}  ${paint.dim(step.because)}`);
  }
  const warned = versions.flatMap(step =>
    step.action === 'keep' ? [{ ...step.wanted, warnings: step.warnings }] : [],
  );
  lines.push(
    ...renderWarnings(warned, paint),
    ...renderDrifts(drift, paint),
    ...extrasOf(plan).map(
      it => `${paint.yellow(it.removed ? 'prune' : 'extra')}  ${it.name} ${it.version}  ${fateOf(it)}`,
    ),
  );
  return lines.map(line => `${line}\n`).join('');
}

function renderTotals({ versions, aliases }: SyncPlan): string {
  const count = (action: string) => [...versions, ...aliases].filter(step => step.action === action).length;
  const parts = [
    `${count('fetch')} to fetch`,
    `${count('keep')} to keep`,
    `${count('alias')} ${count('alias') === 1 ? 'alias' : 'aliases'}`,
    `${count('fail')} impossible`,
  ];
  return `${parts.join(', ')}; at most ${formatBytes(bytesToDownload(versions))} to download. Nothing was touched.\n`;
}

function fateOf({ removed, kept, damage, unlisted, leftPaths }: Extra): string {
  const facts = [
    'not in the manifest',
    ...(kept === 'failed' ? ['kept, since a version of the same plugin fails'] : []),
    ...(kept === 'unselected' ? ['kept, since --only leaves it out'] : []),
    ...(damage === undefined ? [] : [`damaged (${damage})${unlisted ? ', so it leaves the catalog' : ''}`]),
    ...(leftPaths === undefined
      ? []
      : [`${removed ? 'some of it stays' : 'it stays'}, since it is not what was published: ${listed(leftPaths)}`]),
  ];
  return facts.join('; ');
}
