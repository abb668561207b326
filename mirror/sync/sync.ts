import pMap from 'p-map';
import { Refusal } from '../../base/refusal.ts';
import { TreeDiskFull, TreeNotWritable } from '../../tree/errors.ts';
import { requireSpace } from '../../tree/freeSpace.ts';
import { openPublishing, type Publishing } from '../../tree/publish/openPublisher.ts';
import { LazyRegistry } from '../lazyRegistry.ts';
import type { PlanStep } from '../plan/plan.ts';
import { neededBytes, type Prepared, prepare } from '../plan/prepare.ts';
import { lostBeside } from '../publish/extras.ts';
import { ProgressMeter } from '../publish/progressMeter.ts';
import { publishAliases } from '../publish/publishAliases.ts';
import { namedIn, pinnedIn, settleCatalog } from '../publish/publishCatalog.ts';
import { publishVariants } from '../publish/publishVariants.ts';
import { type Done, publishVersion } from '../publish/publishVersion.ts';
import { type SyncReport, versionKey } from '../report.ts';
import type { SyncedReport, SyncOptions } from './syncOptions.ts';

/**
 * manifest → plan → resolve → fetch → extract → check → publish → compress → catalog. One plugin's failure stops no other; whatever
 * happens, an abort included, the tree has every version whole, old or new, and the catalog, written last, says so.
 * @throws what concerns the run as a whole: a tree that is locked or cannot be written, a disk that is too small.
 */
export async function sync(asked: SyncOptions): Promise<SyncedReport> {
  const started = performance.now();
  const { signal, onEvent, prune = false, codings = [] } = asked;
  const meter = new ProgressMeter(onEvent);
  const registry = new LazyRegistry(asked.openRegistry, meter.hear);
  let waited = false;
  let publishing: Publishing;
  try {
    publishing = await open(asked, () => {
      waited = true;
    });
  } catch (error) {
    const report = error instanceof TreeNotWritable ? await standing(asked) : undefined;
    if (report === undefined) throw error;
    return { ...report, durationMs: Math.round(performance.now() - started) };
  }
  try {
    const options = { ...asked, ...(waited ? await asked.renewed?.() : {}) };
    const stopped: Stopped = { drift: [], versions: [] };
    await work(options, publishing, registry, meter, stopped).catch(error => {
      if (!signal.aborted) throw error;
    });
    const versions = await publishVariants(stopped.versions, { codings, publishing, signal, onEvent });
    const aliases = await publishAliases(options.manifest.aliases, versions, publishing, onEvent, signal);
    const done = [...versions, ...aliases];
    const published = done.flatMap(({ metadata }) => metadata ?? []);
    // Every version is whole by now, so what the catalog meets is told beside what was done, not instead of it.
    const problems: Error[] = [];
    const settling = settleCatalog(publishing, {
      settled: published,
      named: namedIn(options),
      pinned: pinnedIn(options),
      prune: prune && !signal.aborted,
      failed: new Set(done.filter(({ outcome }) => outcome.status === 'failed').map(({ outcome }) => outcome.name)),
      selected: options.selected ?? (() => true),
      inspect: !signal.aborted,
      signal,
      onEvent,
    });
    const { extras, left, lost } = await settling.catch((error: unknown) => {
      if (!(error instanceof Refusal)) throw error;
      problems.push(error);
      return { extras: [], left: [], lost: [] };
    });
    problems.push(...lostBeside(lost, options.manifest));
    return {
      tree: publishing.treeDir,
      outcomes: done.map(({ outcome }) => outcome),
      drift: stopped.drift,
      extras,
      unverified: left.filter(options.unvouched ?? (() => false)).map(({ name, version }) => ({ name, version })),
      problems,
      interrupted: signal.aborted,
      ...registry.traffic,
      durationMs: Math.round(performance.now() - started),
      published,
    };
  } finally {
    await registry.close();
    await publishing.close();
  }
}

/** Loaded where a tree cannot be written to, which is seldom. */
async function standing(options: SyncOptions): Promise<SyncedReport | undefined> {
  const { reportStanding } = await import('./unchangedReport.ts');
  return reportStanding(options);
}

function open(
  { treeDir, signal, onEvent, waitMs, stampsFile }: SyncOptions,
  onWaiting: () => void,
): Promise<Publishing> {
  return openPublishing(treeDir, {
    signal,
    onWait: holder => {
      onWaiting();
      onEvent({
        type: 'waiting',
        message: `waiting for another sync of this tree (process ${holder.pid} on ${holder.host})`,
      });
    },
    ...(waitMs === undefined ? {} : { waitMs }),
    ...(stampsFile === undefined ? {} : { stampsFile }),
  });
}

/** How far a run has come; filled as it goes, so that an interrupted one can still say what it finished. */
interface Stopped {
  drift: SyncReport['drift'];
  versions: Done[];
}

async function work(
  options: SyncOptions,
  publishing: Publishing,
  lazy: LazyRegistry,
  meter: ProgressMeter,
  stopped: Stopped,
): Promise<void> {
  const { signal, onEvent, concurrency } = options;
  const registry = () => lazy.get();
  const prepared = await prepare({ ...options, registry, stamps: publishing.stamps, questions: concurrency * 4 });
  stopped.drift = prepared.plan.drift;
  await requireSpace(publishing.treeDir, neededBytes(prepared));
  const done = new Map<PlanStep, Done>();
  const room = { prepared, registry, publishing, meter, signal };
  const finish = (step: PlanStep, result: Done): void => {
    done.set(step, result);
    onEvent({ type: 'finished', outcome: result.outcome });
  };
  const crowded = new Map<PlanStep, Done>();
  await pMap(
    largestFirst(prepared),
    async step => {
      const result = signal.aborted ? undefined : await publishVersion(step, room);
      if (result?.outcome.error instanceof TreeDiskFull) crowded.set(step, result);
      else if (result !== undefined) finish(step, result);
    },
    { concurrency: concurrency * 2 },
  );
  // What was staged at the same time took the room of each other; one after the other some of it may fit.
  for (const [step, result] of crowded)
    finish(step, (crowded.size === 1 || signal.aborted ? undefined : await publishVersion(step, room)) ?? result);
  stopped.versions = prepared.plan.steps.flatMap(step => done.get(step) ?? []);
}

/** What takes longest starts first, so that nobody waits for one big module at the end. */
function largestFirst({ plan, images }: Prepared): PlanStep[] {
  const sizeOf = (step: PlanStep) =>
    sum(images.get(versionKey(step.wanted))?.image.manifest.layers.map(layer => layer.size) ?? []);
  return [...plan.steps].sort((a, b) => sizeOf(b) - sizeOf(a));
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
