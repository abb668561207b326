import { join } from 'node:path';
import { addAbortSignal, type Readable } from 'node:stream';
import type { Descriptor, ImageManifest } from '../../registry/image.ts';
import { ArchiveDocuments } from './documents/archiveDocuments.ts';
import { DocumentFolder } from './documents/documentFolder.ts';
import { extractDocuments } from './documents/layerDocuments.ts';
import { chooseLowerLayers, readLowerDocuments } from './documents/lowerDocuments.ts';
import { moreTelling, nameImage } from './layers/imageKind.ts';
import { INFLATE_LIMIT_BYTES, inflateLayer } from './layers/inflateLayer.ts';
import {
  describeLayer,
  describeLayers,
  LayerAmbiguous,
  LayerCorrupt,
  LayerHostile,
  LayerNoPlugin,
  printable,
} from './layers/layerRefusals.ts';
import {
  assignRoles,
  chooseLayers,
  type LayerPart,
  layersOf,
  refuseEncrypted,
  roleNotes,
} from './layers/layerRoles.ts';
import { EntryHostile } from './layers/overlay.ts';
import { type Candidate, PluginSearch } from './layers/pluginSearch.ts';
import { readTar, TarDamaged, type TarEntry, TarHostile } from './layers/readTar.ts';
import { inspectModule, ModuleInvalid } from './module/inspectModule.ts';
import { isTar, isWasm, nameContent } from './module/moduleContent.ts';
import { MODULE_LIMIT_BYTES, ModuleFile, refuseSize, sizeWarning } from './module/moduleFile.ts';

export interface ExtractRequest {
  /** What errors are about, e.g. `ai-proxy 2.0.1`. */
  readonly subject: string;
  readonly manifest: ImageManifest;
  /** A layer's bytes as they are stored; the stream errors at its end if they do not fit the digest. */
  readonly openLayer: (layer: Descriptor) => Promise<Readable>;
  /** An existing, empty folder that nobody else uses. After an error, whatever lies in it is worthless. */
  readonly dir: string;
  readonly signal: AbortSignal;
}

export interface ExtractedPlugin {
  /** The layer that held plugin.wasm. */
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
 * extract and check: exactly one plugin.wasm out of an image of any form, and the documents that the image has. Which layers
 * are opened is chooseLayers' rule, which file of them is PluginSearch's; the layer's own bytes say whether it is a raw
 * module or a tar, plain, gzip or zstd. Every layer is read to its end, where its digest is known to fit, or destroyed.
 * Documents are layers of their own (see extractDocuments) or lie beside the module in its archives (see ArchiveDocuments);
 * the former win. For them, a few small layers are read below the one with plugin.wasm (see chooseLowerLayers), no others.
 * @throws LayerNoPlugin, LayerAmbiguous, LayerHostile, LayerTooLarge, LayerCorrupt, LayerEncrypted, ModuleInvalid, the
 * signal's reason, and whatever openLayer and its streams throw
 */
export async function extractPlugin(request: ExtractRequest): Promise<ExtractedPlugin> {
  const { subject, manifest, dir, signal } = request;
  signal.throwIfAborted();
  const parts = assignRoles(manifest.layers);
  const chosen = chooseLayers(subject, parts, nameImage(manifest, undefined));
  // Beside the module, not after it: each of them costs a round trip.
  const folder = new DocumentFolder(dir, subject);
  const documents = startDocuments(request, parts, folder);
  try {
    const module = await ModuleFile.create(join(dir, 'plugin.wasm'), subject);
    const extraction = new Extraction(request, parts, module);
    try {
      let below: readonly LayerPart[] = chosen;
      for (const part of chosen) {
        below = below.slice(1);
        await extraction.readLayer(part, below.length > 0);
        if (extraction.search.settled) break;
      }
      const { layer, path } = extraction.conclude();
      const written = await module.finish();
      const { abi, warnings } = await inspectModule(module.path, subject);
      await documents.result();
      await extraction.writeDocuments(path, below, folder);
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
    // A stream that the signal has ended says AbortError or a premature close; the reason is what the caller gave.
    signal.throwIfAborted();
    throw error;
  }
}

/** Documents on their way while the module is read. `stop` waits until nothing is written any more. */
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

class Extraction {
  readonly search = new PluginSearch();
  readonly #documents = new ArchiveDocuments(this.search);
  readonly #request: ExtractRequest;
  readonly #parts: readonly LayerPart[];
  readonly #module: ModuleFile;
  readonly #notes: Map<Descriptor, string>;
  readonly #budget = { leftBytes: INFLATE_LIMIT_BYTES };
  /** Candidates of an impossible size: known from the header, and not written. */
  readonly #tooLarge = new Map<Candidate, number>();
  /** A file that only a whole system has. */
  #systemFile: string | undefined;

  constructor(request: ExtractRequest, parts: readonly LayerPart[], module: ModuleFile) {
    this.#request = request;
    this.#parts = parts;
    this.#module = module;
    this.#notes = roleNotes(parts);
  }

  async readLayer(part: LayerPart, more: boolean): Promise<void> {
    const { subject, openLayer, signal } = this.#request;
    const { layer } = part;
    if (part.role === 'encrypted') throw refuseEncrypted(subject, this.#parts);
    const number = this.#parts.indexOf(part) + 1;
    const place = `layer ${number} (${describeLayer(layer)})`;
    this.search.enterLayer(number, more);
    this.#documents.enterLayer(number);
    const source = await openLayer(layer);
    // Whatever goes wrong is told by the reading; a source destroyed afterwards must not crash the process.
    source.on('error', () => {});
    try {
      addAbortSignal(signal, source);
      const { compression, head, chunks } = await inflateLayer(source, subject, place, this.#budget);
      if (isWasm(head)) await this.#readModule(layer, chunks);
      else if (isTar(head)) await this.#readArchive(layer, place, chunks);
      else await this.#refuseContent(part, place, compression, head, chunks);
    } finally {
      source.destroy();
    }
    this.search.leaveLayer();
  }

  /** Which layer it was, and its path there; refuses where the layers together show no module or several. */
  conclude(): { readonly layer: Descriptor; readonly path: string } {
    const { subject, manifest } = this.#request;
    const { found, candidates, notes } = this.search;
    const refusal = (why: string) => `${subject}: ${why}; ${describeLayers(layersOf(this.#parts), this.#notes)}`;
    if (found === undefined && candidates.length > 0) {
      const named = candidates.slice(0, 10).map(({ path, layer }) => `${printable(path)} (layer ${layer})`);
      const found = `${named.join(', ')}${candidates.length > 10 ? ` and ${candidates.length - 10} more` : ''}`;
      throw new LayerAmbiguous(refusal(`${candidates.length} modules are equally good: ${found}`), {
        subject,
        expected: 'plugin.wasm in the root, or one .wasm file',
        found,
        hint: 'Name the module plugin.wasm in the root of the image, or leave the others out.',
      });
    }
    const layer = found === undefined ? undefined : manifest.layers[found.layer - 1];
    if (found === undefined || layer === undefined) {
      const why = notes.length === 0 ? '' : ` (${notes.map(printable).join('; ')})`;
      const kind = nameImage(manifest, this.#systemFile);
      const what = kind === undefined ? '' : `it is ${kind}, not a plugin: `;
      throw new LayerNoPlugin(refusal(`${what}no layer holds a plugin.wasm or another .wasm file${why}`), {
        subject,
        expected: 'plugin.wasm in the root, or one .wasm file',
        found: [...(kind === undefined ? [] : [kind]), ...notes.map(printable)].join('; ') || 'none',
        hint: 'Check that the reference names a plugin image and that its build copies the module into it.',
      });
    }
    const tooLarge = this.#tooLarge.get(found);
    if (tooLarge !== undefined) throw refuseSize(subject, `${tooLarge} bytes`);
    return { layer, path: found.path };
  }

  /** What documents the archives have beside the module, those in the layers `below` the ones read so far included. */
  async writeDocuments(modulePath: string, below: readonly LayerPart[], folder: DocumentFolder): Promise<void> {
    const { signal } = this.#request;
    const layers = chooseLowerLayers(below).map(part => ({ ...part, number: this.#parts.indexOf(part) + 1 }));
    const found = { overlay: this.search.overlay, documents: this.#documents };
    const warning = await readLowerDocuments(this.#request, layers, found);
    if (warning !== undefined) folder.warn(warning);
    await this.#documents.writeBeside(modulePath, folder, signal);
  }

  async #readModule(layer: Descriptor, chunks: AsyncIterable<Buffer>): Promise<void> {
    // The layer itself is the file: in a stack of several it is one candidate among others, under no path of an archive.
    const keep = this.search.offer(`layer-${layer.digest.slice(-12)}.wasm`, 'file');
    this.#notes.set(layer, 'a raw module');
    if (keep) this.#module.restart();
    for await (const chunk of chunks) {
      if (!keep) continue;
      this.#module.push(chunk);
      await this.#module.flush();
    }
  }

  async #readArchive(layer: Descriptor, place: string, chunks: AsyncIterable<Buffer>): Promise<void> {
    const { subject } = this.#request;
    const before = this.search.candidates.length;
    const module = this.#module;
    let written = 0;
    let expected = 0;
    const entry = (entry: TarEntry): ((piece: Buffer) => void) | undefined => {
      if (entry.kind !== 'directory') this.#systemFile = moreTelling(this.#systemFile, entry.path);
      const keep = this.search.offer(entry.path, entry.kind, entry.about);
      const candidate = this.search.candidates.at(-1);
      if (!keep || candidate === undefined) return this.#documents.offer(entry);
      module.restart();
      written = 0;
      expected = entry.sizeBytes;
      if (entry.sizeBytes > MODULE_LIMIT_BYTES) {
        // The plugin for certain: nothing that follows can change that.
        if (this.search.settled) throw refuseSize(subject, `${entry.sizeBytes} bytes`);
        this.#tooLarge.set(candidate, entry.sizeBytes);
        expected = 0;
        return undefined;
      }
      return piece => {
        written += piece.length;
        module.push(piece);
      };
    };
    try {
      await readTar(chunks, { entry, flush: () => module.flush() });
      if (written !== expected) throw new TarDamaged('a module in it is shorter than its header says');
    } catch (error) {
      if (error instanceof EntryHostile || error instanceof TarHostile)
        throw new LayerHostile(`${subject}: ${place} is refused: ${printable(error.message)}`, {
          subject,
          expected: 'an archive with one regular plugin.wasm and honest names',
          found: printable(error.message),
          hint: 'Do not use this image before you know who pushed it, and why it is built like that.',
          cause: error,
        });
      if (error instanceof TarDamaged)
        throw new LayerCorrupt(`${subject}: ${place} is a damaged tar archive: ${printable(error.message)}`, {
          subject,
          expected: 'a whole tar archive',
          found: printable(error.message),
          hint: 'The layer was damaged before it was pushed: push the image again.',
          cause: error,
        });
      throw error;
    }
    const names = this.search.candidates.slice(before, before + 5).map(candidate => printable(candidate.path));
    this.#notes.set(layer, names.length === 0 ? 'an archive without a module' : `an archive with ${names.join(', ')}`);
  }

  async #refuseContent(
    part: LayerPart,
    place: string,
    compression: string,
    head: Buffer,
    chunks: AsyncIterable<Buffer>,
  ): Promise<never> {
    const { subject } = this.#request;
    // Read on first: if the digest is wrong, the stream's own error explains better what these bytes are.
    for await (const _ of chunks);
    const kind = nameContent(head);
    const found = compression === 'none' ? kind : `${compression} data with ${kind} in it`;
    if (part.role === 'archive')
      throw new LayerCorrupt(`${subject}: ${place} is ${found}, neither a tar archive nor a Wasm module`, {
        subject,
        expected: 'a tar archive (plain, gzip or zstd), or a Wasm module',
        found,
        hint: 'Look at what was pushed: the layer should be the plugin, or a tar that holds it.',
      });
    throw new ModuleInvalid(`${subject}: ${place} is ${found}, not a Wasm module`, {
      subject,
      expected: 'a Wasm core module, or a tar archive that holds one',
      found,
      hint: 'Look at what was pushed: build the plugin to Wasm and push the module itself.',
    });
  }
}
