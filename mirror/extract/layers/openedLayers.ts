import type { Descriptor, ImageManifest } from '../../../registry/image.ts';
import { LayerTooLarge } from '../module/moduleFile.ts';
import { MAX_DOCUMENTS, sizeProblem } from './documentRules.ts';
import { describeLayer } from './errors.ts';
import { assignRoles, chooseLayers, type LayerPart } from './layerRoles.ts';

/** Bytes that the layers of one image may inflate to: enough for a plugin of 256 MiB on a base image, too few for a bomb. */
export const INFLATE_LIMIT_BYTES = 1024 * 1024 * 1024;

/** A layer of more bytes cannot inflate to fewer: compression adds less than a hundredth. */
const LAYER_LIMIT_BYTES = INFLATE_LIMIT_BYTES * 1.01;

/**
 * Returns the layers of an image that are opened, or may be: the documents, and those that may have the plugin. Empty if the plugin
 * cannot be found by the manifest. Sizes are what the image declares; layers too large to be opened are left out.
 */
export function openedLayers({ layers }: ImageManifest): Descriptor[] {
  const parts = assignRoles(layers);
  const documents = parts.filter(
    ({ layer, file }) => file !== undefined && sizeProblem(file, layer.size) === undefined,
  );
  const opened = [...documents.slice(0, MAX_DOCUMENTS), ...chosenOf(parts)].map(({ layer }) => layer);
  return opened.filter(({ size }) => size <= LAYER_LIMIT_BYTES);
}

function chosenOf(parts: readonly LayerPart[]): readonly LayerPart[] {
  try {
    return chooseLayers('', parts, undefined);
  } catch {
    return []; // extractPlugin reports why
  }
}

/** Throws if the layers that have the plugin cannot be read, as the image declares their sizes. @throws LayerTooLarge */
export function requirePluginSize(subject: string, { layers }: ImageManifest): void {
  for (const { layer } of chosenOf(assignRoles(layers))) requireLayerSize(subject, layer);
}

/** To be called before a layer is downloaded. @throws LayerTooLarge if it declares a size that no plugin image has */
export function requireLayerSize(subject: string, layer: Descriptor): void {
  if (layer.size <= LAYER_LIMIT_BYTES) return;
  throw new LayerTooLarge(`${subject}: ${describeLayer(layer)} is too large to be read`, {
    subject,
    expected: `at most ${INFLATE_LIMIT_BYTES} bytes (1 GiB), the limit for the layers of one image`,
    found: `${layer.size} bytes`,
    hint: 'Build the plugin image FROM scratch with nothing but plugin.wasm in it.',
  });
}
