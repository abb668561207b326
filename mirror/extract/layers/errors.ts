import { printable } from '../../../base/printable.ts';
import { Refusal } from '../../../base/refusal.ts';
import type { Descriptor } from '../../../registry/image.ts';

export class LayerNoPlugin extends Refusal {
  readonly code = 'LAYER_NO_PLUGIN';
}

export class LayerAmbiguous extends Refusal {
  readonly code = 'LAYER_AMBIGUOUS';
}

export class LayerHostile extends Refusal {
  readonly code = 'LAYER_HOSTILE';
}

export class LayerCorrupt extends Refusal {
  readonly code = 'LAYER_CORRUPT';
}

export class LayerEncrypted extends Refusal {
  readonly code = 'LAYER_ENCRYPTED';
}

const TITLE = 'org.opencontainers.image.title';
const MAX_NAMED_LAYERS = 20;

/** Returns the file name in a layer's title annotation, without folders; undefined if the layer has no title. */
export function titleOf(layer: Descriptor): string | undefined {
  const title = layer.annotations?.[TITLE];
  if (typeof title !== 'string') return undefined;
  return title
    .split(/[\\/]/)
    .filter(part => part !== '')
    .at(-1);
}

/** Describes all layers in one line, each with its note: `1) <media type> "title", 123 bytes (documentation); 2) …`. */
export function describeLayers(layers: readonly Descriptor[], notes: ReadonlyMap<Descriptor, string>): string {
  if (layers.length === 0) return 'the image has no layers';
  const lines = layers.slice(0, MAX_NAMED_LAYERS).map((layer, index) => {
    const note = notes.get(layer);
    return `${index + 1}) ${describeLayer(layer)}${note === undefined ? '' : ` (${note})`}`;
  });
  const more = layers.length > MAX_NAMED_LAYERS ? `; and ${layers.length - MAX_NAMED_LAYERS} more` : '';
  return `the image's layers: ${lines.join('; ')}${more}`;
}

/** Describes a layer: `<media type> "title", 123 bytes`. */
export function describeLayer(layer: Descriptor): string {
  const title = layer.annotations?.[TITLE];
  const titled = typeof title === 'string' ? ` "${quotedText(title)}"` : ' untitled';
  return `${quotedText(layer.mediaType || 'no media type')}${titled}, ${layer.size} bytes`;
}

/** Quotes text from an image in an error, in at most 120 printable characters. */
export function quotedText(text: string): string {
  return printable(text, 120);
}
