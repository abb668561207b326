import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { openFileSink, openPipeSink, type WrittenFile } from '../../layout/partWriter.ts';
import { type OnBytes, requireLayoutFolder, writeFolderLayout, writeTarLayout } from '../../layout/writeLayout.ts';
import { CacheUnusable } from '../../registry/blobs/cache.ts';
import type { CacheProof } from '../../registry/registry.ts';
import { readLockfile } from '../lockfile/lockfile.ts';
import type { SyncJob } from '../plan/job.ts';
import type { Outcome, SyncReport } from '../report.ts';
import type { Session } from '../session.ts';
import { readBase } from './base.ts';
import { type PackedBundle, packBundle } from './packBundle.ts';

/** Where a bundle is written. */
export type BundleTarget =
  | {
      readonly kind: 'tar';
      readonly path: string;
      readonly partBytes?: number;
      /** Files next to the bundle, for its checksum file. */
      readonly alongside?: readonly WrittenFile[];
    }
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'pipe'; readonly pipe: Writable };

export interface BundleOptions {
  readonly only: readonly string[];
  readonly attachments: boolean;
  /** A lockfile or a bundle that the receiver has. */
  readonly since: string | undefined;
  readonly version: string;
}

export interface BundleReport {
  /** Empty for a folder and for a pipe. */
  readonly files: readonly WrittenFile[];
  /** Absent if nothing was written. */
  readonly packed?: Omit<PackedBundle, 'content'>;
  /** The versions that failed: then nothing was written. */
  readonly failed: readonly Outcome[];
  /** Errors of the run as a whole. */
  readonly problems: readonly Error[];
}

/**
 * Writes the images that the manifest and its lockfile name as one OCI image layout. Without a lockfile the tags are resolved
 * and the lockfile is written, as sync does. A version that fails stops the bundle: half of one would go unnoticed.
 * @throws the refusals of the lockfile, of --since and of layout/errors.ts; the signal's reason
 */
export async function bundle(
  job: SyncJob,
  options: BundleOptions,
  target: BundleTarget,
  session: Session,
): Promise<BundleReport> {
  if (target.kind === 'folder') await requireLayoutFolder(target.path);
  const base = options.since === undefined ? undefined : await readBase(options.since);
  if ((await readLockfile(job.lockfile.path)) === undefined) {
    const { outcomes, problems } = await writeLockfile(job, session);
    const failed = outcomes.filter(({ status }) => status === 'failed');
    // Half a lockfile would make the next run a frozen one that differs from the manifest.
    if (session.signal.aborted || failed.length + problems.length > 0) await rm(job.lockfile.path, { force: true });
    session.signal.throwIfAborted();
    if (failed.length + problems.length > 0) return { files: [], failed, problems };
  }
  const packed = await packBundle(job, { ...options, ...(base === undefined ? {} : { base }) }, session);
  if ('failed' in packed) return { files: [], failed: packed.failed, problems: [] };
  const { content, ...figures } = packed;
  const { sizeBytes } = figures;
  session.onEvent({ type: 'started', key: 'bundle', sizeBytes });
  // A blob of the cache with other bytes is removed from it, so that the second time it is downloaded.
  const files = await write(packed, target, target.kind === 'pipe' ? 'first' : 'read', session).catch(error => {
    if (!(error instanceof CacheUnusable) || target.kind === 'pipe') throw error;
    return write(packed, target, 'first', session);
  });
  return { files, packed: figures, failed: [], problems: [] };
}

/** Publishes into a tree that is removed afterwards: the lockfile has the sha256 of each plugin.wasm, which is in its layers. */
async function writeLockfile(job: SyncJob, session: Session): Promise<SyncReport> {
  const { sync } = await import('../sync/sync.ts');
  const dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-'));
  const { stampsFile: _, ...tree } = job.tree;
  try {
    return await sync(
      {
        ...job,
        lockfile: { ...job.lockfile, mode: 'renewed' },
        tree: { ...tree, dir: join(dir, 'plugins'), prune: false, codings: [] },
      },
      session,
    );
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** @param proof `read`: each blob is hashed once, and the error of a wrong one comes after its bytes were written */
async function write(
  packed: PackedBundle,
  target: BundleTarget,
  proof: CacheProof,
  { signal, onEvent }: Session,
): Promise<readonly WrittenFile[]> {
  const { sizeBytes } = packed;
  const blobs = packed.content.blobs.map(blob => ({ ...blob, open: (own: AbortSignal) => blob.open(own, proof) }));
  const content = { ...packed.content, blobs };
  const written = new Map<string, number>();
  let receivedBytes = 0;
  const onBytes: OnBytes = (digest, bytes) => {
    receivedBytes += bytes - (written.get(digest) ?? 0);
    written.set(digest, bytes);
    onEvent({ type: 'progress', key: 'bundle', receivedBytes, sizeBytes });
  };
  if (target.kind === 'folder') {
    await writeFolderLayout(content, target.path, signal, onBytes);
    return [];
  }
  const sink =
    target.kind === 'pipe' ? openPipeSink(target.pipe) : openFileSink(target.path, target.partBytes, target.alongside);
  try {
    await writeTarLayout(content, sink, signal, onBytes);
    return await sink.finish();
  } catch (error) {
    await sink.abandon();
    throw error;
  }
}
