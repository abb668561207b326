import type { Descriptor } from '../../../registry/image.ts';
import { documentFile } from './documentRules.ts';
import { describeLayers, LayerAmbiguous, LayerEncrypted, LayerHostile, LayerNoPlugin, titleOf } from './errors.ts';

/** The presumed content of a layer, from the manifest alone. */
type LayerRole = 'module' | 'archive' | 'document' | 'encrypted' | 'unknown' | 'other';

export interface LayerPart {
  readonly layer: Descriptor;
  readonly role: LayerRole;
  /** The name under which a document is published; only with role `document`. */
  readonly file?: string;
}

/**
 * Returns the layers to open for plugin.wasm, in their order. The manifest alone decides:
 *
 * 1. A layer is a `module` by its media type (`…+wasm`, `application/wasm`) or by a title that ends in `.wasm`. The title
 *    counts more than a tar's media type: `oras push x.wasm` without a media type writes `…image.layer.v1.tar`.
 * 2. A layer is a `document` by its title (README*.md, spec.yaml, icon.png), otherwise by its media type.
 * 3. Any other layer with the media type or the title of a tar is an `archive`, unless its title is that of a text (LICENSE,
 *    .json). Configs, attestations, signatures and the OCI empty layer are `other` and never opened. The rest is `unknown`.
 * 4. A single module titled exactly `plugin.wasm` is the plugin, whatever else there is.
 * 5. Otherwise a single module is the plugin if there is no archive. Several modules, or modules and archives, are ambiguous.
 * 6. Otherwise all archives together are a file system image, read from the top down (see PluginSearch).
 * 7. Otherwise a single unknown layer is opened.
 *
 * Layers with the same digest are one layer. The content of a layer (raw module, gzip, zstd, tar) is detected from its bytes.
 * @param kind what the image seems to be, for the error
 * @returns one module, or all archives, the topmost first @throws LayerNoPlugin, LayerAmbiguous, LayerEncrypted, LayerHostile
 */
export function chooseLayers(subject: string, parts: readonly LayerPart[], kind: string | undefined): LayerPart[] {
  const modules = distinct(parts.filter(part => part.role === 'module'));
  const archives = parts.filter(part => part.role === 'archive' || part.role === 'encrypted');
  const unknown = distinct(parts.filter(part => part.role === 'unknown'));
  const named = modules.filter(part => titleOf(part.layer) === 'plugin.wasm');
  if (named.length === 1) return named;
  const encrypted = parts.filter(part => part.role === 'encrypted');
  if (encrypted.length > 0 && (modules.length > 0 || encrypted.length === archives.length))
    throw encryptedError(subject, parts);
  const ambiguous = (why: string) =>
    new LayerAmbiguous(`${subject}: ${why}; ${describeLayers(layersOf(parts), roleNotes(parts))}`, {
      subject,
      expected: 'one layer that is the plugin',
      found: why,
      hint: 'Push the plugin as the only module of its image, or give its layer the title plugin.wasm.',
    });
  if (named.length > 1) throw ambiguous(`${named.length} different layers are titled plugin.wasm`);
  if (modules.length > 1) throw ambiguous(`${modules.length} layers are modules and none is titled plugin.wasm`);
  if (modules.length > 0 && archives.length > 0)
    throw ambiguous('the image has a module and an archive, and the module is not titled plugin.wasm');
  if (modules.length > 0) return modules;
  if (archives.length > MAX_ARCHIVES)
    throw new LayerHostile(`${subject}: the image has ${archives.length} archive layers, more than ${MAX_ARCHIVES}`, {
      subject,
      expected: `at most ${MAX_ARCHIVES} archive layers`,
      found: String(archives.length),
      hint: 'Build the plugin image FROM scratch with nothing but plugin.wasm in it.',
    });
  if (archives.length > 0) return archives.toReversed();
  if (unknown.length > 1)
    throw ambiguous(`${unknown.length} layers could be the plugin by their media types and titles`);
  if (unknown.length > 0) return unknown;
  throw new LayerNoPlugin(
    `${subject}: ${kind === undefined ? '' : `it is ${kind}, not a plugin: `}no layer can contain a plugin; ${describeLayers(layersOf(parts), roleNotes(parts))}`,
    {
      subject,
      expected: 'a layer with a Wasm module, or a tar with plugin.wasm in it',
      found: kind ?? otherLayers(parts.length),
      hint: 'Check that the reference names a plugin image, and not a signature, an SBOM or a Helm chart.',
    },
  );
}

export function encryptedError(subject: string, parts: readonly LayerPart[]): LayerEncrypted {
  return new LayerEncrypted(
    `${subject}: the layer that may contain the plugin is encrypted; ${describeLayers(layersOf(parts), roleNotes(parts))}`,
    {
      subject,
      expected: 'layers that can be read without a key',
      found: 'a media type that ends in +encrypted',
      hint: 'Push the plugin without encryption: gateways cannot load an encrypted one.',
    },
  );
}

export function assignRoles(layers: readonly Descriptor[]): LayerPart[] {
  return layers.map(layer => {
    const file = documentName(layer);
    const role = roleOf(layer, file);
    return role === 'document' && file !== undefined ? { layer, role, file } : { layer, role };
  });
}

export function layersOf(parts: readonly LayerPart[]): Descriptor[] {
  return parts.map(part => part.layer);
}

export function roleNotes(parts: readonly LayerPart[]): Map<Descriptor, string> {
  return new Map(parts.map(part => [part.layer, ROLE_NOTES[part.role]]));
}

function otherLayers(count: number): string {
  return count === 0 ? 'no layers' : count === 1 ? 'one layer of another kind' : `${count} layers of other kinds`;
}

// Container engines allow 127 layers; each one costs a request.
const MAX_ARCHIVES = 200;

const ROLE_NOTES: Record<LayerRole, string> = {
  module: 'a module by its title or media type',
  archive: 'an archive',
  document: 'documentation',
  encrypted: 'encrypted',
  unknown: 'of unknown kind',
  other: 'not a plugin by its title or media type',
};

const WASM_TITLE = /\.wasm(?:\.gz|\.zst)?$/i;
const WASM_TYPE = /^application\/(?:wasm|.+\+wasm|vnd\.wasm\.content\.layer\.v1\+wasm)$/;
const TAR_TYPE = /(?:^application\/|[./+])(?:tar|x-tar|gtar|x-gtar|tgz)(?:[.+]|$)/;
const TAR_TITLE = /\.(?:tar|tgz|tar\.gz|tar\.zst|tzst)$/i;
const OTHER_TYPE =
  /^application\/vnd\.(?:oci\.empty\.|module\.wasm\.config\.|in-toto|dev\.cosign|cncf\.notary|dev\.sigstore|oci\.image\.(?:config|manifest|index)\.)/;
const TEXT_TYPE = /^(?:text|image)\/|[+/](?:json|ya?ml|markdown|xml|png)$/;
const TEXT_TITLE =
  /^(?:licen[cs]e|notice|copying|makefile|dockerfile)(?:\.|$)|\.(?:md|markdown|txt|json|jsonl|ya?ml|toml|xml|html?|png|svg|jpe?g|gif|sig|asc|pem|crt|sha256|sha512|md5|spdx|cdx|lock|mod|sum)$/i;
const DOC_TYPE = /^application\/vnd\.module\.wasm\.doc\.v1(?:\.([a-z]{2,3}(?:[-_][a-z0-9]{2,8})?))?\+markdown$/i;

function roleOf(layer: Descriptor, file: string | undefined): LayerRole {
  const type = (layer.mediaType.split(';')[0] ?? '').trim().toLowerCase();
  const title = titleOf(layer) ?? '';
  if (type.includes('+encrypted')) return 'encrypted';
  if (OTHER_TYPE.test(type)) return 'other';
  if (WASM_TYPE.test(type) || WASM_TITLE.test(title)) return 'module';
  if (file !== undefined) return 'document';
  // ORAS packs a folder into a tar and uses the folder's name as its title, which may look like that of a text.
  if (layer.annotations?.['io.deis.oras.content.unpack'] === 'true') return 'archive';
  if (TEXT_TITLE.test(title)) return 'other';
  if (TAR_TYPE.test(type) || TAR_TITLE.test(title)) return 'archive';
  return TEXT_TYPE.test(type) ? 'other' : 'unknown';
}

function documentName(layer: Descriptor): string | undefined {
  const titled = documentFile(titleOf(layer) ?? '');
  if (titled !== undefined) return titled;
  const language = DOC_TYPE.exec(layer.mediaType);
  if (language) return language[1] === undefined ? 'README.md' : `README_${language[1].toUpperCase()}.md`;
  if (/^application\/vnd\.module\.wasm\.spec\.v1\+yaml$/i.test(layer.mediaType)) return 'spec.yaml';
  return /^application\/vnd\.module\.wasm\.icon\.v1\+png$/i.test(layer.mediaType) ? 'icon.png' : undefined;
}

function distinct(parts: readonly LayerPart[]): LayerPart[] {
  const digests = new Set<string>();
  const first: LayerPart[] = [];
  // Of two copies, only one may be titled plugin.wasm.
  for (const part of [...parts].sort((a, b) => Number(isNamed(b)) - Number(isNamed(a)))) {
    if (!digests.has(part.layer.digest)) first.push(part);
    digests.add(part.layer.digest);
  }
  return first;
}

function isNamed(part: LayerPart): boolean {
  return titleOf(part.layer) === 'plugin.wasm';
}
