import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Refusal } from '../../base/refusal.ts';
import type { Descriptor } from '../../registry/image.ts';
import { asLocalRefusal, openLocal } from '../manifest/localFile.ts';
import { DocumentFolder, extractDocuments } from './documents.ts';
import { nameImage } from './layers/imageKind.ts';
import { assignRoles, chooseLayers, type LayerPart } from './layers/layerRoles.ts';
import { inspectModule } from './module/inspectModule.ts';
import { ModuleFile, sizeWarning } from './module/moduleFile.ts';
import { type ExtractRequest, LayerReader } from './readLayers.ts';

export interface ExtractedPlugin {
  /** The layer that contained plugin.wasm. */
  readonly layer: Descriptor;
  /** Of plugin.wasm, bare lower-case hex. */
  readonly sha256: string;
  readonly md5: string;
  readonly sizeBytes: number;
  /** `0.1.0`, `0.2.0` or `0.2.1`; null if the module exports no Proxy-Wasm ABI version. */
  readonly abi: string | null;
  /** The other files written: spec.yaml, README*.md, icon.png. */
  readonly files: Record<string, { sha256: string; sizeBytes: number }>;
  readonly warnings: string[];
}

/**
 * Extracts one plugin.wasm and the documents of an image of any form. chooseLayers selects the layers to open, PluginSearch
 * the file in them; whether a layer is a raw module or a tar (plain, gzip or zstd) is detected from its bytes. Every opened
 * layer is read to its end, where its digest is verified, or destroyed. Documents are layers of their own (extractDocuments)
 * or files next to plugin.wasm in its archive (ArchiveDocuments); of two with one name, the layer of its own is published.
 * @throws LayerNoPlugin, LayerAmbiguous, LayerHostile, LayerTooLarge, LayerCorrupt, LayerEncrypted, ModuleInvalid, the
 * signal's reason, and any error of openLayer and its streams
 */
export async function extractPlugin(request: ExtractRequest): Promise<ExtractedPlugin> {
  const { subject, manifest, dir, signal } = request;
  signal.throwIfAborted();
  const parts = assignRoles(manifest.layers);
  const chosen = chooseLayers(subject, parts, nameImage(manifest, undefined));
  // Concurrently with the module: each document costs a round trip.
  const folder = new DocumentFolder(dir, subject);
  const documents = startDocuments(request, parts, folder);
  try {
    const module = await ModuleFile.create(join(dir, 'plugin.wasm'), subject);
    try {
      const reader = new LayerReader(request, parts, module);
      const { layer, path } = await reader.readUntilFound(chosen);
      const written = await module.finish();
      const { abi, warnings } = await inspectModule(module.path, subject);
      await documents.result();
      await reader.documents.writeNextTo(path, folder, signal);
      const size = sizeWarning(subject, written.sizeBytes);
      return {
        layer,
        ...written,
        abi,
        files: folder.files,
        warnings: [...warnings, ...(size === undefined ? [] : [size]), ...folder.warnings],
      };
    } finally {
      await module.close();
    }
  } catch (error) {
    await documents.stop();
    // An aborted stream fails with AbortError or a premature close; the caller expects the signal's reason.
    signal.throwIfAborted();
    throw error;
  }
}

/** Starts extractDocuments. `stop` aborts it and resolves when nothing is written any more. */
function startDocuments(request: ExtractRequest, parts: readonly LayerPart[], folder: DocumentFolder) {
  const controller = new AbortController();
  const signal = AbortSignal.any([request.signal, controller.signal]);
  const working = extractDocuments({ ...request, signal }, parts, folder);
  const ended = working.then(
    () => undefined,
    () => undefined,
  );
  return {
    result: () => working,
    stop: () => {
      controller.abort();
      return ended;
    },
  };
}

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
    const { bytesRead } = await source.read(buffer, 0, buffer.length, position).catch((error: unknown) => {
      throw asLocalRefusal(error, path, subject);
    });
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
