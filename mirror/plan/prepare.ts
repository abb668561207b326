import pMap from 'p-map';
import type { Image } from '../../registry/image.ts';
import type { Digest, Reference } from '../../registry/reference.ts';
import type { Registry } from '../../registry/registry.ts';
import type { Stamps } from '../../tree/stamps.ts';
import type { SyncListener } from '../events.ts';
import { LockBytesDiffer, LockedImageGone } from '../lockfile/compareManifest.ts';
import type { Held } from '../lockfile/held.ts';
import type { PluginManifest, WantedVersion } from '../manifest/wanted.ts';
import { versionKey } from '../report.ts';
import { ask } from './currentDigest.ts';
import { makePlan, type Plan, type PlanStep } from './plan.ts';
import { surveyTree } from './survey.ts';

export interface PrepareOptions {
  readonly manifest: PluginManifest;
  readonly treeDir: string;
  /** Opened at the first question only: a run that has nothing to ask loads no network code. */
  readonly registry: () => Promise<Registry>;
  /** What the lock holds of a version; undefined if nothing. Default: there is no lock. */
  readonly locked?: (wanted: WantedVersion) => Held | undefined;
  /** The same where an update was asked for, too: what was verified before. Default: nothing was. */
  readonly before?: (wanted: WantedVersion) => Held | undefined;
  /** Ask tags. False under --frozen. Default true. */
  readonly tags?: boolean;
  readonly rehash?: boolean;
  readonly stamps?: Stamps;
  readonly platform?: string;
  /** Questions in flight at once. Manifests are small, so this is more than the blobs'. */
  readonly questions: number;
  readonly signal: AbortSignal;
  readonly onEvent: SyncListener;
}

/** A plan whose every fetch has its image manifest at hand, so that sizes are known before the first blob travels. */
export interface Prepared {
  readonly plan: Plan;
  /** By version key; for every step that fetches from a registry. */
  readonly images: ReadonlyMap<string, { readonly reference: Reference; readonly image: Image }>;
}

/** manifest → plan → resolve: looks at the tree, asks the registry what it must, decides. Changes nothing. */
export async function prepare(options: PrepareOptions): Promise<Prepared> {
  const { manifest, treeDir, registry, signal, onEvent } = options;
  onEvent({ type: 'asking', versions: manifest.versions.length });
  // The first questions travel while the rest of the tree is looked at.
  const findings = await pMap(
    surveyTree(treeDir, manifest.versions, options),
    async ({ wanted, present }) => {
      const held = heldOf(wanted, options);
      const answer = await ask({ wanted, present, held }, registry, options.tags ?? true, signal);
      return { wanted, present, held, answer, before: options.before?.(wanted) };
    },
    { concurrency: options.questions, signal },
  );
  return describe(makePlan(findings), options);
}

function heldOf(wanted: WantedVersion, { locked }: PrepareOptions): Held | undefined {
  const digest = wanted.source.kind === 'file' ? undefined : wanted.source.reference.digest;
  return locked?.(wanted) ?? (digest === undefined ? undefined : { digest });
}

/** Gets the manifests that are not at hand yet; a step whose manifest cannot be had becomes a failure. */
async function describe(plan: Plan, options: PrepareOptions): Promise<Prepared> {
  const images = new Map<string, { reference: Reference; image: Image }>();
  const steps = await pMap(
    plan.steps,
    async (step): Promise<PlanStep> => {
      if (step.action !== 'fetch' || step.wanted.source.kind !== 'image') return step;
      const reference = { ...step.wanted.source.reference, digest: step.digest as Digest };
      try {
        const image =
          step.image ?? (await (await options.registry()).fetchImage(reference, options.signal, step.platform));
        requireLayer(step, image);
        images.set(versionKey(step.wanted), { reference, image });
        return step;
      } catch (error) {
        options.signal.throwIfAborted();
        return { action: 'fail', wanted: step.wanted, error: await lockedGone(step, error) };
      }
    },
    { concurrency: options.questions, signal: options.signal },
  );
  const prepared = { plan: { ...plan, steps }, images };
  const count = (action: PlanStep['action']) => steps.filter(step => step.action === action).length;
  options.onEvent({
    type: 'planned',
    fetch: count('fetch'),
    keep: count('keep'),
    fail: count('fail'),
    sizeBytes: [...layerSizes(prepared).values()].reduce((sum, size) => sum + size, 0),
  });
  return prepared;
}

/** A layer that the lock names and the image lacks need not be downloaded to be missed. */
function requireLayer({ wanted, module }: PlanStep & { action: 'fetch' }, { manifest }: Image): void {
  const layer = module?.layerDigest;
  if (layer === undefined || manifest.layers.some(({ digest }) => digest === layer)) return;
  const found = manifest.layers.map(({ digest }) => digest).join(', ');
  throw new LockBytesDiffer(wanted.name, wanted.version, `the layer ${layer}`, found === '' ? 'no layers' : found);
}

/** Where the lock, and not the manifest itself, wants a digest that is gone, an update is the way out. */
async function lockedGone(step: PlanStep & { action: 'fetch' }, error: unknown): Promise<Error> {
  const { wanted, module, digest } = step;
  const isLocked =
    module !== undefined && wanted.source.kind === 'image' && wanted.source.reference.digest === undefined;
  const { goneOf } = await import('./registryAnswers.ts');
  const gone = isLocked ? goneOf(error) : undefined;
  if (gone !== undefined) return new LockedImageGone(wanted.name, wanted.version, digest, gone);
  return error instanceof Error ? error : new Error(String(error));
}

/** Layer digest → bytes, each once however many versions share it: what would travel if no layer can be left out. */
export function layerSizes(prepared: Prepared): Map<string, number> {
  const layers = [...prepared.images.values()].flatMap(({ image }) => image.manifest.layers);
  return new Map(layers.map(layer => [layer.digest, layer.size]));
}

/** At least so much is written: modules of known size as they are, others as they are stored, compressed most often. */
export function neededBytes(prepared: Prepared): number {
  const modules = prepared.plan.steps.map(step => (step.action === 'fetch' ? (step.module?.sizeBytes ?? 0) : 0));
  const sum = (sizes: Iterable<number>) => [...sizes].reduce((total, size) => total + size, 0);
  return Math.max(sum(modules), sum(layerSizes(prepared).values()));
}
