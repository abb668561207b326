import { asError } from '../../base/refusal.ts';
import type { Publishing } from '../../tree/publish/openPublisher.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { openedLayers } from '../extract/layers/openedLayers.ts';
import { originOf } from '../manifest/origin.ts';
import type { FetchStep, KeepStep, VersionStep } from '../plan/plan.ts';
import { type Outcome, versionKey, withoutSubject } from '../report.ts';
import type { Session } from '../session.ts';
import type { Fetched } from './fetchPlugin.ts';

/** An outcome, with the metadata of the version that the tree has now, if it has one that this run mirrored. */
export interface Done {
  readonly outcome: Outcome;
  readonly metadata?: PublishedVersion;
}

/** Carries out one step of the plan. A failure is an outcome; undefined if the run was stopped in the middle of it. */
export async function publishVersion(
  step: VersionStep,
  publishing: Publishing,
  session: Session,
): Promise<Done | undefined> {
  if (step.action === 'fail') return failed(step, step.error);
  try {
    if (step.action === 'keep') return succeeded('kept', await keep(step, publishing));
    const { metadata, outcome } = succeeded('fetched', await fetch(step, publishing, session));
    return { ...(metadata === undefined ? {} : { metadata }), outcome: { ...outcome, change: step.reason } };
  } catch (error) {
    if (session.signal.aborted) return undefined;
    return failed(step, asError(error));
  } finally {
    session.meter.end(versionKey(step.wanted));
  }
}

/** The outcome of a version that stays in the tree as it is. */
export function keptVersion({ metadata, warnings }: KeepStep): Done {
  return succeeded('kept', { metadata, warnings });
}

/** The bytes stay the same; only their recorded origin may change. */
async function keep({ metadata, origin, warnings }: KeepStep, publishing: Publishing): Promise<Fetched> {
  if (origin === undefined) return { metadata, warnings };
  const changed = { ...metadata, reference: origin };
  await publishing.publish(await publishing.stageCopy(metadata), changed);
  return { metadata: changed, warnings };
}

async function fetch(step: FetchStep, publishing: Publishing, { registry, meter, signal }: Session): Promise<Fetched> {
  const { wanted, image, module } = step;
  // Loaded when something is fetched, and only then: reading archives is most of this program's code.
  const { adoptLocal, fetchPlugin } = await import('./fetchPlugin.ts');
  if (wanted.source.kind === 'file') return adoptLocal(wanted, wanted.source, publishing, signal);
  if (image === undefined) throw new Error(`${versionKey(wanted)}: the plan has no image for it`);
  meter.start(versionKey(wanted), openedLayers(image.image.manifest));
  return fetchPlugin({
    wanted,
    ...image,
    ...(module === undefined ? {} : { module }),
    registry: await registry.get(),
    publishing,
    signal,
  });
}

function succeeded(status: 'fetched' | 'kept', { metadata, warnings }: Fetched): Done {
  const { name, version, reference, digest, sha256, sizeBytes } = metadata;
  const notes = warnings.map(warning => withoutSubject(warning, metadata));
  return { metadata, outcome: { name, version, status, reference, digest, sha256, sizeBytes, warnings: notes } };
}

function failed({ wanted }: VersionStep, error: Error): Done {
  const { name, version } = wanted;
  return { outcome: { name, version, status: 'failed', reference: originOf(wanted), error, warnings: [] } };
}
