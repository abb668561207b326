import { asError } from '../../base/refusal.ts';
import type { Image } from '../../registry/image.ts';
import type { Digest, Reference } from '../../registry/reference.ts';
import { TreeUnreadable } from '../../tree/errors.ts';
import { foreignInTheWay } from '../../tree/publish/ownership.ts';
import { LockBytesDiffer, LockedImageGone } from '../lockfile/errors.ts';
import type { WantedVersion } from '../manifest/wanted.ts';
import type { Published } from '../report.ts';
import type { Session } from '../session.ts';
import type { FetchStep, ResolvedImage, VersionStep } from './plan.ts';

/**
 * Takes a fetch as far as it can go without a blob of the plugin: nothing foreign is in its way, its image manifest is there,
 * the locked layer is in it, its signature satisfies the policy, a local file is a module. A step that cannot be carried out
 * becomes a refusal with its error.
 */
export async function resolveStep(step: VersionStep, treeDir: string, session: Session): Promise<VersionStep> {
  if (step.action !== 'fetch') return step;
  const { wanted, copy } = step;
  try {
    const obstacle = await obstacleTo(treeDir, wanted, step.module?.sha256);
    if (obstacle !== undefined) throw obstacle;
    if (wanted.source.kind === 'image') return { ...step, image: await resolveImage(step, wanted.source, session) };
    const { inspectModule } = await import('../extract/module/inspectModule.ts');
    await inspectModule(wanted.source.path, `${wanted.name} ${wanted.version}`, 'built');
    return step;
  } catch (error) {
    session.signal.throwIfAborted();
    return { action: 'fail', wanted, copy, error: asError(error) };
  }
}

/**
 * Returns an error if a file or folder is in the way of a version, or if this user may not read what is there; undefined if
 * the version can be published. @throws TreeFault
 */
export async function obstacleTo(
  treeDir: string,
  { name, version }: Published,
  moduleSha256?: string,
): Promise<Error | undefined> {
  return foreignInTheWay(treeDir, name, version, moduleSha256).catch((error: unknown) => {
    if (error instanceof TreeUnreadable) return error;
    throw error;
  });
}

async function resolveImage(
  step: FetchStep,
  source: { readonly reference: Reference },
  { registry, signal }: Session,
): Promise<ResolvedImage> {
  const { wanted } = step;
  const reference = { ...source.reference, digest: step.digest as Digest };
  const known = step.image?.image;
  const image =
    known ??
    (await (await registry.get()).fetchImage(reference, signal, step.platform).catch(async (error: unknown) => {
      throw await asLocked(step, error);
    }));
  requireLayer(step, image);
  if (wanted.signatures === undefined) return { reference, image };
  const { verifySignatures } = await import('../signatures/verifySignatures.ts');
  const signature = await verifySignatures(wanted.signatures, image, reference, await registry.get(), signal);
  return { reference, image, ...(signature === undefined ? {} : { signature }) };
}

/** A locked layer that the image does not have is missed before anything is downloaded. @throws LockBytesDiffer */
function requireLayer({ wanted, module }: FetchStep, { manifest }: Image): void {
  const layer = module?.layerDigest;
  if (layer === undefined || manifest.layers.some(({ digest }) => digest === layer)) return;
  const found = manifest.layers.map(({ digest }) => digest).join(', ');
  throw new LockBytesDiffer(wanted.name, wanted.version, `the layer ${layer}`, found === '' ? 'no layers' : found);
}

/** Where the lockfile, and not the manifest, names a digest that the registry no longer has, an update is the way out. */
async function asLocked({ wanted, module, digest }: FetchStep, error: unknown): Promise<unknown> {
  if (module === undefined || isPinned(wanted)) return error;
  const { notFoundIn } = await import('./registryAnswers.ts');
  const gone = notFoundIn(error);
  return gone === undefined ? error : new LockedImageGone(wanted.name, wanted.version, digest, gone);
}

function isPinned({ source }: WantedVersion): boolean {
  return source.kind === 'file' || source.reference.digest !== undefined;
}
