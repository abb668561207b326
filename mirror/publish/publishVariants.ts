import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import pMap from 'p-map';
import { asTreeRefusal, TreeDiskFull } from '../../tree/errors.ts';
import { diskFullError } from '../../tree/freeSpace.ts';
import { MODULE_FILE } from '../../tree/names.ts';
import type { Publishing } from '../../tree/publish/openPublisher.ts';
import { type Coding, codingOf, variantFile } from '../../tree/version/codings.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import type { SyncListener } from '../events.ts';
import type { Done } from './publishVersion.ts';

export interface VariantOptions {
  /** What each version shall have, and nothing else: the tree follows from list and options, not from former runs. */
  readonly codings: readonly Coding[];
  readonly publishing: Publishing;
  readonly signal: AbortSignal;
  readonly onEvent: SyncListener;
}

/**
 * Publishes versions again that lack a compressed form of their module, or have one that is no longer asked for. Nothing
 * travels. One module for each processor is in work; an abort leaves the rest as it is, which the next run completes.
 */
export async function publishVariants(done: readonly Done[], options: VariantOptions): Promise<Done[]> {
  const unfit = done.filter(({ metadata }) => metadata !== undefined && !isSettled(metadata, options.codings));
  if (unfit.length > 0 && options.codings.length > 0) options.onEvent({ type: 'compressing', versions: unfit.length });
  const revised = new Map<Done, Done>();
  await pMap(unfit, async one => revised.set(one, await revise(one, options)), { concurrency: availableParallelism() });
  return done.map(one => revised.get(one) ?? one);
}

async function revise(one: Done, options: VariantOptions): Promise<Done> {
  const { metadata, outcome } = one;
  if (metadata === undefined || options.signal.aborted) return one;
  try {
    return { outcome, metadata: await withVariants(metadata, options) };
  } catch (error) {
    if (options.signal.aborted) return one;
    // What was published stands, and is served uncompressed.
    const reason = error instanceof Error ? error : new Error(String(error));
    const failed: Done = { metadata, outcome: { ...outcome, status: 'failed', error: reason } };
    options.onEvent({ type: 'finished', outcome: failed.outcome });
    return failed;
  }
}

async function withVariants(
  metadata: PublishedVersion,
  { codings, publishing, signal }: VariantOptions,
): Promise<PublishedVersion> {
  const wanted = new Set(codings.map(variantFile));
  const unwanted = new Set(variantsOf(metadata).filter(file => !wanted.has(file)));
  const staged = await publishing.stageCopy(metadata, unwanted);
  try {
    const files = Object.fromEntries(Object.entries(metadata.files).filter(([file]) => !unwanted.has(file)));
    for (const coding of codings) {
      const file = variantFile(coding);
      if (files[file] !== undefined) continue;
      const module = join(staged.dir, MODULE_FILE);
      const { compressModule } = await import('./compressModule.ts');
      files[file] = await compressModule(module, join(staged.dir, file), coding, metadata.sizeBytes, signal);
    }
    const revised = { ...metadata, files };
    await publishing.publish(staged, revised);
    return revised;
  } catch (error) {
    await publishing.discard(staged);
    const refusal = asTreeRefusal(error, staged.dir);
    if (!(refusal instanceof TreeDiskFull) || refusal.expected !== undefined) throw refusal;
    throw await diskFullError(publishing.treeDir, metadata.sizeBytes, { cause: refusal.cause, isLeast: true });
  }
}

/** True if a version has the compressed forms asked for, and no others. */
export function isSettled(metadata: PublishedVersion, codings: readonly Coding[]): boolean {
  const present = variantsOf(metadata);
  return present.length === codings.length && codings.every(coding => present.includes(variantFile(coding)));
}

function variantsOf({ files }: PublishedVersion): string[] {
  return Object.keys(files).filter(file => codingOf(file) !== undefined);
}
