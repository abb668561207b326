import type { Readable } from 'node:stream';
import type { Descriptor } from '../../../registry/image.ts';
import { describeLayer } from '../layers/layerRefusals.ts';
import type { LayerPart } from '../layers/layerRoles.ts';
import type { DocumentFolder } from './documentFolder.ts';
import { documentLimitBytes, MAX_DOCUMENTS, sizeProblem } from './documentRules.ts';
import { readWhole } from './readWhole.ts';

/**
 * Writes the documents that are layers of their own (spec.yaml, README*.md, icon.png), as they are stored. One that is too
 * large, no PNG where it says so, or of a name that is taken already is left out with a warning. A layer that cannot be had
 * whole is an error all the same, or two runs over one image would differ.
 */
export async function extractDocuments(
  request: { readonly openLayer: (layer: Descriptor) => Promise<Readable>; readonly signal: AbortSignal },
  parts: readonly LayerPart[],
  folder: DocumentFolder,
): Promise<void> {
  const { openLayer, signal } = request;
  for (const { layer, file } of parts) {
    if (file === undefined) continue;
    const place = describeLayer(layer);
    const tooLarge = sizeProblem(file, layer.size);
    if (folder.has(file)) folder.skip(file, 'another layer has that name already', place);
    else if (folder.isFull) folder.skip(file, `an image may have ${MAX_DOCUMENTS} documents`, place);
    else if (tooLarge !== undefined) folder.skip(file, tooLarge, place);
    else {
      const limit = documentLimitBytes(file);
      const bytes = await readWhole(await openLayer(layer), limit, signal);
      if (bytes === undefined) folder.skip(file, `it is larger than ${limit} bytes`, place);
      else await folder.write(file, bytes, place, signal);
    }
  }
}
