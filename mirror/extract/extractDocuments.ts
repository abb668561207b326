import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { addAbortSignal, type Readable } from 'node:stream';
import type { Descriptor } from '../../registry/image.ts';
import { describeLayer } from './layerRefusals.ts';
import type { LayerPart } from './layerRoles.ts';

export interface ExtractedDocuments {
  readonly files: Record<string, { sha256: string; sizeBytes: number }>;
  readonly warnings: string[];
}

/**
 * Writes the image's documents (spec.yaml, README*.md, icon.png) beside plugin.wasm, as they are stored. One that is too
 * large, no PNG where it says so, or of a name that is taken already is left out with a warning: it is no reason to go without
 * the plugin. A layer that cannot be had whole is an error all the same, or two runs over one image would differ.
 */
export async function extractDocuments(
  request: {
    readonly subject: string;
    readonly openLayer: (layer: Descriptor) => Promise<Readable>;
    readonly dir: string;
    readonly signal: AbortSignal;
  },
  parts: readonly LayerPart[],
): Promise<ExtractedDocuments> {
  const { subject, dir, signal } = request;
  const files: ExtractedDocuments['files'] = {};
  const warnings: string[] = [];
  const taken = new Set<string>();
  for (const { layer, file } of parts) {
    if (file === undefined) continue;
    const skip = (why: string) => warnings.push(`${subject}: ${file} is left out: ${why} (${describeLayer(layer)})`);
    const limit = file === 'icon.png' ? ICON_LIMIT_BYTES : DOCUMENT_LIMIT_BYTES;
    // Two names that differ in case only would be one file on many disks.
    if (taken.has(file.toLowerCase())) skip('another layer has that name already');
    else if (taken.size === MAX_DOCUMENTS) skip(`an image may have ${MAX_DOCUMENTS} documents`);
    else if (layer.size > limit) skip(`it is larger than ${limit} bytes`);
    else {
      const bytes = await readWhole(await request.openLayer(layer), limit, signal);
      if (bytes === undefined) skip(`it is larger than ${limit} bytes`);
      else if (file === 'icon.png' && !bytes.subarray(0, 8).equals(PNG)) skip('it is not a PNG image');
      else {
        taken.add(file.toLowerCase());
        await writeFile(join(dir, file), bytes, { flag: 'wx', mode: 0o644, signal });
        files[file] = { sha256: createHash('sha256').update(bytes).digest('hex'), sizeBytes: bytes.length };
      }
    }
  }
  return { files, warnings };
}

const MAX_DOCUMENTS = 20;
const DOCUMENT_LIMIT_BYTES = 4 * 1024 * 1024;
const ICON_LIMIT_BYTES = 1024 * 1024;
const PNG = Buffer.from('89504e470d0a1a0a', 'hex');

/** The stream's bytes once it has ended well; undefined, and the stream destroyed, if there are more than `limit`. */
async function readWhole(source: Readable, limit: number, signal: AbortSignal): Promise<Buffer | undefined> {
  source.on('error', () => {});
  try {
    addAbortSignal(signal, source);
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of source) {
      length += (chunk as Buffer).length;
      if (length > limit) return undefined;
      chunks.push(Buffer.from(chunk));
    }
    return Buffer.concat(chunks);
  } finally {
    source.destroy();
  }
}
