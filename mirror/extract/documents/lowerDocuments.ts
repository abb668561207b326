import { Readable } from 'node:stream';
import { Refusal } from '../../../base/refusal.ts';
import type { Descriptor } from '../../../registry/image.ts';
import { inflateLayer } from '../layers/inflateLayer.ts';
import { LayerTooLarge, printable } from '../layers/layerRefusals.ts';
import type { LayerPart } from '../layers/layerRoles.ts';
import { EntryHostile, type Overlay } from '../layers/overlay.ts';
import { readTar, TarDamaged, TarHostile } from '../layers/readTar.ts';
import { isTar } from '../module/moduleContent.ts';
import type { ArchiveDocuments } from './archiveDocuments.ts';
import { readWhole } from './readWhole.ts';

/**
 * Of the layers below the one that settled the search, those that are read for documents alone: `COPY README.md /` in a
 * Dockerfile before `COPY plugin.wasm /`. From there down, as long as they are archives of at most 2 MiB as they are stored,
 * and no more than 8: that has room for every document in a layer of its own, and ends at a base image. A layer that is passed
 * over would leave open what it hides, so the first that does not fit ends it. The manifest alone decides, so that every run
 * reads the same.
 */
export function chooseLowerLayers(below: readonly LayerPart[]): LayerPart[] {
  const end = below.findIndex(
    ({ role, layer }) => role !== 'archive' || layer.size > MAX_STORED_BYTES || ELSEWHERE.test(layer.mediaType),
  );
  return below.slice(0, Math.min(MAX_LAYERS, end === -1 ? below.length : end));
}

/**
 * Reads them, and holds what documents they have. One that is no archive, damaged, hostile or a bomb is no reason to go without
 * the plugin, which does not need it: nothing of it counts, and none below it is read. One that cannot be had whole is an error
 * all the same, or two runs over one image would differ.
 * @returns a warning without its subject if a layer could not be made use of @throws whatever openLayer and its streams throw
 */
export async function readLowerDocuments(
  request: {
    readonly subject: string;
    readonly openLayer: (layer: Descriptor) => Promise<Readable>;
    readonly signal: AbortSignal;
  },
  layers: readonly (LayerPart & { readonly number: number })[],
  found: { readonly overlay: Overlay; readonly documents: ArchiveDocuments },
): Promise<string | undefined> {
  const { subject, openLayer, signal } = request;
  const { overlay, documents } = found;
  const budget = { leftBytes: MAX_INFLATED_BYTES };
  for (const [index, { layer, number }] of layers.entries()) {
    // Whole and of the right digest before any of it is judged: what is bad then is bad on every run.
    const stored = await readWhole(await openLayer(layer), MAX_STORED_BYTES, signal);
    if (stored === undefined) return undefined;
    overlay.enterLayer(index < layers.length - 1);
    documents.enterLayer(number);
    const place = `layer ${number}`;
    try {
      const { head, chunks } = await inflateLayer(Readable.from([stored]), subject, place, budget);
      if (!isTar(head)) {
        for await (const _ of chunks); // left half read, it would keep its decompressor
        return undefined;
      }
      await readTar(chunks, {
        entry: entry => (overlay.take(entry.path, entry.kind) === undefined ? undefined : documents.offer(entry)),
        flush: async () => signal.throwIfAborted(),
      });
    } catch (error) {
      documents.dropLayer();
      if (!isUnfit(error)) throw error;
      const why = error instanceof LayerTooLarge ? `it inflates beyond ${MAX_INFLATED_BYTES} bytes` : error.message;
      return `no documents are taken from ${place} or below: ${printable(why.replace(`${subject}: `, ''))}`;
    }
    overlay.leaveLayer();
  }
  return undefined;
}

const MAX_STORED_BYTES = 2 * 1024 * 1024;
const MAX_LAYERS = 8;
const MAX_INFLATED_BYTES = 64 * 1024 * 1024;
/** Layers that a registry need not have (OCI image-spec, layer.md, Non-Distributable Layers; Docker's foreign ones). */
const ELSEWHERE = /\.(?:foreign|nondistributable)\./;

function isUnfit(error: unknown): error is Error {
  return [Refusal, EntryHostile, TarHostile, TarDamaged].some(kind => error instanceof kind);
}
