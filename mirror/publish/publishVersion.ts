import type { Registry } from '../../registry/registry.ts';
import type { Publishing } from '../../tree/publish/openPublisher.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { originOf } from '../manifest/origin.ts';
import type { PlanStep } from '../plan/plan.ts';
import type { Prepared } from '../plan/prepare.ts';
import { type Outcome, versionKey, withoutSubject } from '../report.ts';
import type { Fetched } from './fetchPlugin.ts';
import type { ProgressMeter } from './progressMeter.ts';

/** An outcome with the metadata of what stands in the tree now, if anything does. */
export interface Done {
  readonly outcome: Outcome;
  readonly metadata?: PublishedVersion;
}

export interface PublishingRoom {
  readonly prepared: Prepared;
  readonly registry: () => Promise<Registry>;
  readonly publishing: Publishing;
  readonly meter: ProgressMeter;
  readonly signal: AbortSignal;
}

/** Carries one step of the plan out. A failure is an outcome; undefined if the run was aborted in the middle of it. */
export async function publishVersion(step: PlanStep, room: PublishingRoom): Promise<Done | undefined> {
  if (step.action === 'fail') return failed(step, step.error);
  const key = versionKey(step.wanted);
  try {
    if (step.action === 'keep') return succeeded('kept', await restated(step, room));
    return succeeded('fetched', await fetchStep(step, key, room));
  } catch (error) {
    if (room.signal.aborted) return undefined;
    return failed(step, error instanceof Error ? error : new Error(String(error)));
  } finally {
    room.meter.end(key);
  }
}

/** What stands in the tree and is to stay there. */
export function keepVersion({ metadata, warnings }: PlanStep & { action: 'keep' }): Done {
  return succeeded('kept', { metadata, warnings });
}

/** The bytes are the same: only where they are said to come from is written anew. */
async function restated(
  { metadata, origin, warnings }: PlanStep & { action: 'keep' },
  { publishing }: PublishingRoom,
): Promise<Fetched> {
  if (origin === undefined) return { metadata, warnings };
  const changed = { ...metadata, reference: origin };
  await publishing.publish(await publishing.stageCopy(metadata), changed);
  return { metadata: changed, warnings };
}

async function fetchStep(
  { wanted, module }: PlanStep & { action: 'fetch' },
  key: string,
  room: PublishingRoom,
): Promise<Fetched> {
  const { prepared, publishing, meter, signal } = room;
  // Loaded when something travels, and only then: reading archives is most of this program's code.
  const { adoptLocal, fetchPlugin } = await import('./fetchPlugin.ts');
  if (wanted.source.kind === 'file') return adoptLocal(wanted, wanted.source, publishing, signal);
  const found = prepared.images.get(key);
  if (found === undefined) throw new Error(`${key}: its image manifest is not at hand`);
  meter.start(key, found.image.manifest.layers);
  const registry = await room.registry();
  return fetchPlugin({ wanted, ...found, ...(module === undefined ? {} : { module }), registry, publishing, signal });
}

function succeeded(status: 'fetched' | 'kept', { metadata, warnings }: Fetched): Done {
  const { name, version, reference, digest, sha256, sizeBytes } = metadata;
  const notes = warnings.map(warning => withoutSubject(warning, metadata));
  return { metadata, outcome: { name, version, status, reference, digest, sha256, sizeBytes, warnings: notes } };
}

function failed({ wanted }: PlanStep, error: Error): Done {
  const { name, version } = wanted;
  return { outcome: { name, version, status: 'failed', reference: originOf(wanted), error, warnings: [] } };
}
