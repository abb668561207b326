import { addAbortSignal, type Readable } from 'node:stream';
import type { Descriptor, ImageManifest } from '../../registry/image.ts';
import { ArchiveDocuments } from './documents.ts';
import { type InflatedLayer, inflateLayer, newInflateBudget } from './inflate/inflateLayer.ts';
import {
  describeLayer,
  describeLayers,
  LayerAmbiguous,
  LayerCorrupt,
  LayerHostile,
  LayerNoPlugin,
  quotedText,
} from './layers/errors.ts';
import { betterSystemFile, nameImage } from './layers/imageKind.ts';
import { encryptedError, type LayerPart, layersOf, roleNotes } from './layers/layerRoles.ts';
import { requireLayerSize } from './layers/openedLayers.ts';
import { EntryHostile, normalisePath } from './layers/overlay.ts';
import { type Candidate, COPY_HINT, type Offered, PluginSearch } from './layers/pluginSearch.ts';
import { readTar, TarDamaged, type TarEntry, TarHostile } from './layers/readTar.ts';
import { ModuleInvalid } from './module/inspectModule.ts';
import { isTar, isWasm, nameContent } from './module/moduleContent.ts';
import { MODULE_LIMIT_BYTES, type ModuleFile, moduleTooLarge } from './module/moduleFile.ts';

export interface ExtractRequest {
  /** The start of every error message, e.g. `ai-proxy 2.0.1`. */
  readonly subject: string;
  readonly manifest: ImageManifest;
  /** Opens a layer's stored bytes. The stream must fail at its end if they do not match the digest. */
  readonly openLayer: (layer: Descriptor) => Promise<Readable>;
  /** An existing, empty folder for this image alone. After an error its content is undefined. */
  readonly dir: string;
  readonly signal: AbortSignal;
}

/** Reads the layers of one image from the top down and writes the plugin that it finds into `module`. */
export class LayerReader {
  readonly #search = new PluginSearch();
  /** The documents in the folder of the plugin. */
  readonly documents = new ArchiveDocuments(this.#search);
  readonly #request: ExtractRequest;
  readonly #parts: readonly LayerPart[];
  readonly #module: ModuleFile;
  /** The facts about each layer, for errors. */
  readonly #notes: Map<Descriptor, string>;
  readonly #budget = newInflateBudget();
  /** Candidates beyond the size limit: known from the tar header, and not written. */
  readonly #tooLarge = new Map<Candidate, number>();
  /** The file whose bytes the module has. */
  #held: { readonly layer: number; readonly path: string } | undefined;
  /** A file that only a container image has. */
  #systemFile: string | undefined;

  constructor(request: ExtractRequest, parts: readonly LayerPart[], module: ModuleFile) {
    this.#request = request;
    this.#parts = parts;
    this.#module = module;
    this.#notes = roleNotes(parts);
  }

  /** Returns the layer of the plugin and the plugin's path in it. @throws as extractPlugin */
  async readUntilFound(layers: readonly LayerPart[]): Promise<{ readonly layer: Descriptor; readonly path: string }> {
    for (const [index, part] of layers.entries()) {
      await this.#readLayer(part, index < layers.length - 1);
      if (this.#search.isFinal) break;
    }
    const found = this.#conclude();
    await this.#readLinked();
    return found;
  }

  /**
   * Reads the layer of the plugin again if the plugin is a hard link to a file whose bytes were not kept: when they went by, nothing
   * showed that they are the plugin.
   */
  async #readLinked(): Promise<void> {
    const { found } = this.#search;
    const part = found === undefined ? undefined : this.#parts[found.layer - 1];
    if (found?.source === undefined || part === undefined) return;
    if (this.#held?.layer === found.layer && this.#held.path === found.source) return;
    const { subject } = this.#request;
    const label = this.#labelOf(part);
    const search = new LinkedFile(found.path, found.source);
    await this.#open(part, async ({ chunks }) => {
      const module = this.#module;
      const entry = (entry: TarEntry): ((piece: Buffer) => void) | undefined => {
        if (!search.offer(entry)) return undefined;
        if (entry.sizeBytes > MODULE_LIMIT_BYTES) throw moduleTooLarge(subject, `${entry.sizeBytes} bytes`);
        module.restart();
        return piece => module.push(piece);
      };
      try {
        await readTar(chunks, { entry, flush: () => module.flush() });
        search.requireFound();
      } catch (error) {
        throw archiveError(error, subject, label);
      }
    });
  }

  async #readLayer(part: LayerPart, more: boolean): Promise<void> {
    const { layer } = part;
    if (part.role === 'encrypted') throw encryptedError(this.#request.subject, this.#parts);
    const number = this.#parts.indexOf(part) + 1;
    const label = this.#labelOf(part);
    this.#search.enterLayer(number, more);
    this.documents.enterLayer(number);
    await this.#open(part, async inflated => {
      if (isWasm(inflated.head)) await this.#readModule(layer, number, inflated.chunks);
      else if (isTar(inflated.head)) await this.#readArchive(layer, number, inflated.chunks);
      else await this.#refuseContent(part, label, inflated);
    });
    this.#search.leaveLayer();
    this.documents.leaveLayer();
  }

  #labelOf(part: LayerPart): string {
    return `layer ${this.#parts.indexOf(part) + 1} (${describeLayer(part.layer)})`;
  }

  async #open(part: LayerPart, read: (inflated: InflatedLayer) => Promise<void>): Promise<void> {
    const { subject, openLayer, signal } = this.#request;
    requireLayerSize(subject, part.layer);
    const source = await openLayer(part.layer);
    // The reading throws the stream's errors; an error event after destroy() must not end the process.
    source.on('error', () => {});
    try {
      addAbortSignal(signal, source);
      const inflated = await inflateLayer(source, subject, this.#labelOf(part), signal, this.#budget);
      try {
        await read(inflated);
      } finally {
        await inflated.close();
      }
    } finally {
      source.destroy();
    }
  }

  #conclude(): { readonly layer: Descriptor; readonly path: string } {
    const { subject, manifest } = this.#request;
    const { found, candidates, notes } = this.#search;
    const message = (why: string) => `${subject}: ${why}; ${describeLayers(layersOf(this.#parts), this.#notes)}`;
    if (found === undefined && candidates.length > 0) {
      const named = candidates.slice(0, 10).map(({ path, layer }) => `${quotedText(path)} (layer ${layer})`);
      const found = `${named.join(', ')}${candidates.length > 10 ? ` and ${candidates.length - 10} more` : ''}`;
      throw new LayerAmbiguous(message(`${candidates.length} modules could be the plugin: ${found}`), {
        subject,
        expected: 'plugin.wasm in the root, or a single .wasm file',
        found,
        hint: 'Name the module plugin.wasm in the root of the image, or remove the others.',
      });
    }
    const layer = found === undefined ? undefined : manifest.layers[found.layer - 1];
    if (found === undefined || layer === undefined) {
      const why = notes.length === 0 ? '' : ` (${notes.map(quotedText).join('; ')})`;
      const kind = nameImage(manifest, this.#systemFile);
      const what = kind === undefined ? '' : `it is ${kind}, not a plugin: `;
      throw new LayerNoPlugin(message(`${what}no layer contains a plugin.wasm or another .wasm file${why}`), {
        subject,
        expected: 'plugin.wasm in the root, or a single .wasm file',
        found: [...(kind === undefined ? [] : [kind]), ...notes.map(quotedText)].join('; ') || 'no module',
        hint: 'Check that the reference names a plugin image and that its build copies the module into it.',
      });
    }
    const tooLarge = this.#tooLarge.get(found);
    if (tooLarge !== undefined) throw moduleTooLarge(subject, `${tooLarge} bytes`);
    return { layer, path: found.path };
  }

  async #readModule(layer: Descriptor, number: number, chunks: AsyncIterable<Buffer>): Promise<void> {
    // Among archives, a raw module is one candidate of several. It has no path: this name is in no archive.
    const path = `layer-${layer.digest.slice(-12)}.wasm`;
    const keep = this.#search.offer({ path, kind: 'file' });
    this.#notes.set(layer, 'a raw module');
    if (keep) this.#hold(number, path);
    for await (const chunk of chunks) {
      if (!keep) continue;
      this.#module.push(chunk);
      await this.#module.flush();
    }
  }

  /** The bytes that follow replace those that the module has. */
  #hold(layer: number, path: string): void {
    this.#module.restart();
    this.#held = { layer, path };
  }

  async #readArchive(layer: Descriptor, number: number, chunks: AsyncIterable<Buffer>): Promise<void> {
    const { subject } = this.#request;
    const label = `layer ${number} (${describeLayer(layer)})`;
    const before = this.#search.candidates.length;
    const module = this.#module;
    let written = 0;
    let expected = 0;
    const entry = (entry: TarEntry): ((piece: Buffer) => void) | undefined => {
      if (entry.kind !== 'directory') this.#systemFile = betterSystemFile(this.#systemFile, entry.path);
      const keep = this.#search.offer(entry);
      const candidate = this.#search.candidates.at(-1);
      if (!keep || candidate === undefined) return this.documents.offer(entry);
      if (candidate.source !== undefined) return undefined;
      this.#hold(number, candidate.path);
      written = 0;
      expected = entry.sizeBytes;
      if (entry.sizeBytes > MODULE_LIMIT_BYTES) {
        if (this.#search.isFinal) throw moduleTooLarge(subject, `${entry.sizeBytes} bytes`);
        this.#tooLarge.set(candidate, entry.sizeBytes);
        this.#held = undefined;
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
      throw archiveError(error, subject, label);
    }
    const names = this.#search.candidates.slice(before, before + 5).map(candidate => quotedText(candidate.path));
    this.#notes.set(layer, names.length === 0 ? 'an archive without a module' : `an archive with ${names.join(', ')}`);
  }

  async #refuseContent(part: LayerPart, label: string, { compression, head, chunks }: InflatedLayer): Promise<never> {
    const { subject } = this.#request;
    // Read to the end: if the digest is wrong, the stream's error is the better explanation.
    for await (const _ of chunks);
    const kind = nameContent(head);
    const found = compression === 'none' ? kind : `${compression} data with ${kind} in it`;
    if (part.role === 'archive')
      throw new LayerCorrupt(`${subject}: ${label} is ${found}, neither a tar archive nor a Wasm module`, {
        subject,
        expected: 'a tar archive (plain, gzip or zstd), or a Wasm module',
        found,
        hint: /archive$|^(?:xz|bzip2) data$/.test(kind)
          ? 'Pack plugin.wasm with "tar -czf plugin.tar.gz plugin.wasm", and push that.'
          : 'Check what was pushed: the layer should be the plugin, or a tar that contains it.',
      });
    throw new ModuleInvalid(`${subject}: ${label} is ${found}, not a Wasm module`, {
      subject,
      expected: 'a Wasm core module, or a tar archive that contains one',
      found,
      hint: 'Check what was pushed: build the plugin to Wasm and push the module itself.',
    });
  }
}

/** Returns the Refusal for an error of readTar or its visitor, and any other error as it is. */
function archiveError(error: unknown, subject: string, label: string): unknown {
  if (error instanceof EntryHostile || error instanceof TarHostile)
    return new LayerHostile(`${subject}: ${label} is refused: ${quotedText(error.message)}`, {
      subject,
      expected: 'an archive with one regular plugin.wasm, and names that stay in it',
      found: quotedText(error.message),
      hint:
        (error instanceof EntryHostile ? error.hint : undefined) ??
        'Build the image again with a usual tool (docker build, oras push). If it is not yours, ask its publisher why it is built like this before you use it.',
      cause: error,
    });
  if (error instanceof TarDamaged)
    return new LayerCorrupt(`${subject}: ${label} is a damaged tar archive: ${quotedText(error.message)}`, {
      subject,
      expected: 'a complete tar archive',
      found: quotedText(error.message),
      hint: error.hint ?? 'The digest is right, so the layer was damaged before it was pushed. Push the image again.',
      cause: error,
    });
  return error;
}

/** Finds the file that a hard link leads to, when its layer is read for the second time. */
class LinkedFile {
  readonly #link: string;
  readonly #source: string;
  #isFound = false;
  #isOver = false;

  /** @param link the normalised path of the link @param source the one of the file, as PluginSearch found it */
  constructor(link: string, source: string) {
    this.#link = link;
    this.#source = source;
  }

  /** Takes one entry. Returns true if its bytes are to be kept: of several files with one path, the last before the link counts. */
  offer({ path: rawPath, kind }: Offered): boolean {
    const path = normalisePath(rawPath);
    if (path === this.#link) this.#isOver = true;
    if (this.#isOver || path !== this.#source) return false;
    this.#isFound = kind === 'file';
    return this.#isFound;
  }

  /** @throws EntryHostile */
  requireFound(): void {
    if (this.#isFound) return;
    const what = `${this.#link} is a hard link to ${this.#source}, which is not a regular file earlier in the same layer`;
    throw new EntryHostile(what, COPY_HINT);
  }
}
