import { addAbortSignal, type Readable } from 'node:stream';
import type { Descriptor } from '../../../registry/image.ts';
import { documentLimitBytes, MAX_DOCUMENTS, sizeProblem } from '../layers/documentNames.ts';
import { describeLayer } from '../layers/errors.ts';
import type { LayerPart } from '../layers/layerRoles.ts';
import type { DocumentFolder } from './documentFolder.ts';

/**
 * Writes the documents that are layers of their own (spec.yaml, README*.md, icon.png). A document that is too large, has the
 * name of another or is not the PNG that its name promises is left out with a warning. A layer that cannot be read completely
 * is an error: otherwise two runs over one image could publish different files.
 */
export async function extractDocuments(
  request: { readonly openLayer: (layer: Descriptor) => Promise<Readable>; readonly signal: AbortSignal },
  parts: readonly LayerPart[],
  folder: DocumentFolder,
): Promise<void> {
  const { openLayer, signal } = request;
  let surplus = 0;
  for (const { layer, file } of parts) {
    if (file === undefined) continue;
    const source = describeLayer(layer);
    const tooLarge = sizeProblem(file, layer.size);
    if (folder.isFull) surplus++;
    else if (folder.has(file)) folder.skip(file, 'another layer has that name already', source);
    else if (tooLarge !== undefined) folder.skip(file, tooLarge, source);
    else {
      const limit = documentLimitBytes(file);
      const bytes = await readWhole(await openLayer(layer), limit, signal);
      if (bytes === undefined) folder.skip(file, `it is larger than ${limit} bytes`, source);
      else await folder.write(file, bytes, source, signal);
    }
  }
  if (surplus > 0) folder.warn(`${surplus} documents are left out: an image may have ${MAX_DOCUMENTS}`);
}

/** Returns the stream's bytes, or undefined if there are more than `limitBytes`. The stream is destroyed in either case. */
async function readWhole(source: Readable, limitBytes: number, signal: AbortSignal): Promise<Buffer | undefined> {
  // The loop throws the stream's errors; an error event after destroy() must not end the process.
  source.on('error', () => {});
  try {
    addAbortSignal(signal, source);
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of source) {
      length += (chunk as Buffer).length;
      if (length > limitBytes) return undefined;
      chunks.push(Buffer.from(chunk));
    }
    return Buffer.concat(chunks);
  } finally {
    source.destroy();
  }
}
