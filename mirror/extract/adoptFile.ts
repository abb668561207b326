import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Refusal } from '../../base/refusal.ts';
import { openLocal } from '../manifest/localFile.ts';
import type { ExtractedPlugin } from './extractPlugin.ts';
import { inspectModule } from './module/inspectModule.ts';
import { ModuleFile, sizeWarning } from './module/moduleFile.ts';

export class FileChanged extends Refusal {
  readonly code = 'FILE_CHANGED';
}

/**
 * Does for a local module what extractPlugin does for an image: copies `path` to plugin.wasm in `dir`, hashes and checks it.
 * Symbolic links are followed, because the user named the file. A file that changes while it is read is refused.
 * @throws FileUnreadable, FileChanged, LayerTooLarge, ModuleInvalid, the signal's reason
 */
export async function adoptFile(request: {
  readonly subject: string;
  readonly path: string;
  readonly dir: string;
  readonly signal: AbortSignal;
}): Promise<Omit<ExtractedPlugin, 'layer'>> {
  const { subject, path, dir, signal } = request;
  signal.throwIfAborted();
  const source = await openLocal(path, subject);
  try {
    const module = await ModuleFile.create(join(dir, 'plugin.wasm'), subject);
    try {
      await copy(source, module, path, subject, signal);
      const written = await module.finish();
      const { abi, warnings } = await inspectModule(module.path, subject, 'built');
      const size = sizeWarning(subject, written.sizeBytes);
      return { ...written, abi, files: {}, warnings: [...warnings, ...(size === undefined ? [] : [size])] };
    } finally {
      await module.close();
    }
  } finally {
    await source.close();
  }
}

const CHUNK_BYTES = 512 * 1024;

async function copy(
  source: FileHandle,
  module: ModuleFile,
  path: string,
  subject: string,
  signal: AbortSignal,
): Promise<void> {
  const before = await source.stat({ bigint: true });
  let position = 0;
  for (;;) {
    signal.throwIfAborted();
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    const { bytesRead } = await source.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    module.push(buffer.subarray(0, bytesRead));
    await module.flush();
  }
  const after = await source.stat({ bigint: true });
  // A writer that replaces the file by rename does not change the open one; a writer into it is detected here.
  if (BigInt(position) === before.size && after.size === before.size && after.mtimeNs === before.mtimeNs) return;
  throw new FileChanged(`${subject}: ${path} changed while it was read`, {
    subject,
    expected: `${before.size} bytes, unchanged`,
    found: `${position} bytes read, ${after.size} bytes afterwards`,
    hint: 'Let the build that writes it finish, then run again.',
  });
}
