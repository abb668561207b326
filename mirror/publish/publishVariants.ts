import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import pMap from 'p-map';
import { asError } from '../../base/refusal.ts';
import { asTreeRefusal, TreeDiskFull } from '../../tree/errors.ts';
import { diskFullError } from '../../tree/freeSpace.ts';
import { MODULE_FILE } from '../../tree/names.ts';
import type { Publishing } from '../../tree/publish/openPublisher.ts';
import { type Coding, codingOf, variantFile } from '../../tree/version/codings.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import type { Session } from '../session.ts';
import type { Done } from './publishVersion.ts';

/**
 * Publishes versions again that lack a compressed form of their module, or have one that is no longer asked for: the tree
 * follows from the manifest and the options, not from earlier runs. Nothing is downloaded. One module per processor is in
 * work. A stopped run leaves the rest as it is, and the next run completes it.
 */
export async function publishVariants(
  done: readonly Done[],
  codings: readonly Coding[],
  publishing: Publishing,
  session: Session,
): Promise<Done[]> {
  const unfit = done.filter(({ metadata }) => metadata !== undefined && !hasVariants(metadata, codings));
  if (unfit.length > 0 && codings.length > 0) session.onEvent({ type: 'compressing', versions: unfit.length });
  const revise = async (one: Done): Promise<Done> => {
    const { metadata, outcome } = one;
    if (metadata === undefined || session.signal.aborted) return one;
    try {
      return { outcome, metadata: await withVariants(metadata, codings, publishing, session.signal) };
    } catch (error) {
      if (session.signal.aborted) return one;
      // The version that was published stays, and is served uncompressed.
      const reason = asError(error);
      const failed: Done = { metadata, outcome: { ...outcome, status: 'failed', error: reason } };
      session.onEvent({ type: 'finished', outcome: failed.outcome });
      return failed;
    }
  };
  const revised = new Map<Done, Done>();
  await pMap(unfit, async one => revised.set(one, await revise(one)), { concurrency: availableParallelism() });
  return done.map(one => revised.get(one) ?? one);
}

async function withVariants(
  metadata: PublishedVersion,
  codings: readonly Coding[],
  publishing: Publishing,
  signal: AbortSignal,
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
    await publishing.requireLock();
    await publishing.discard(staged);
    const refusal = asTreeRefusal(error, staged.dir);
    if (!(refusal instanceof TreeDiskFull) || refusal.expected !== undefined) throw refusal;
    throw await diskFullError(publishing.treeDir, metadata.sizeBytes, { cause: refusal.cause, isLeast: true });
  }
}

/** True if a version has the compressed forms asked for, and no others. */
export function hasVariants(metadata: PublishedVersion, codings: readonly Coding[]): boolean {
  const present = variantsOf(metadata);
  return present.length === codings.length && codings.every(coding => present.includes(variantFile(coding)));
}

function variantsOf({ files }: PublishedVersion): string[] {
  return Object.keys(files).filter(file => codingOf(file) !== undefined);
}
