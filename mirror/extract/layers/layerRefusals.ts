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

export class LayerTooLarge extends Refusal {
  readonly code = 'LAYER_TOO_LARGE';
}

export class LayerCorrupt extends Refusal {
  readonly code = 'LAYER_CORRUPT';
}

export class LayerEncrypted extends Refusal {
  readonly code = 'LAYER_ENCRYPTED';
}

const TITLE = 'org.opencontainers.image.title';
const MAX_NAMED_LAYERS = 20;

/** The file name that a layer was pushed under, without folders; undefined if it has none. */
export function titleOf(layer: Descriptor): string | undefined {
  const title = layer.annotations?.[TITLE];
  if (typeof title !== 'string') return undefined;
  return title
    .split(/[\\/]/)
    .filter(part => part !== '')
    .at(-1);
}

/** All layers in one line, with what is known of each: `1) <media type> "title", 123 bytes (documentation); 2) …`. */
export function describeLayers(layers: readonly Descriptor[], notes: ReadonlyMap<Descriptor, string>): string {
  if (layers.length === 0) return 'the image has no layers';
  const lines = layers.slice(0, MAX_NAMED_LAYERS).map((layer, index) => {
    const note = notes.get(layer);
    return `${index + 1}) ${describeLayer(layer)}${note === undefined ? '' : ` (${note})`}`;
  });
  const more = layers.length > MAX_NAMED_LAYERS ? `; and ${layers.length - MAX_NAMED_LAYERS} more` : '';
  return `the image's layers: ${lines.join('; ')}${more}`;
}

export function describeLayer(layer: Descriptor): string {
  const title = layer.annotations?.[TITLE];
  const titled = typeof title === 'string' ? ` "${printable(title)}"` : ' untitled';
  return `${printable(layer.mediaType || 'no media type')}${titled}, ${layer.size} bytes`;
}

/** Text of others, made fit for a terminal: no control characters, at most 120 characters. */
export function printable(text: string): string {
  const safe = text.replace(
    /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g,
    character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return safe.length > 120 ? `${safe.slice(0, 119)}…` : safe;
}
