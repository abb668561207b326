import type { Descriptor } from '../../../registry/image.ts';
import { documentFile } from '../documents/documentRules.ts';
import {
  describeLayers,
  LayerAmbiguous,
  LayerEncrypted,
  LayerHostile,
  LayerNoPlugin,
  titleOf,
} from './layerRefusals.ts';

/** What a layer is taken for before a byte of it is read. */
type LayerRole = 'module' | 'archive' | 'document' | 'encrypted' | 'unknown' | 'other';

export interface LayerPart {
  readonly layer: Descriptor;
  readonly role: LayerRole;
  /** The safe name under which a document is kept; only with role `document`. */
  readonly file?: string;
}

/**
 * Which layers are opened to find plugin.wasm, and in which order. The rule, from the manifest alone:
 *
 * 1. A layer is a `module` by its media type (`…+wasm`, `application/wasm`) or a title that ends in `.wasm`; `oras push
 *    x.wasm` without a media type says `…image.layer.v1.tar`, so the title is stronger than a tar's media type.
 * 2. A layer is a `document` by its title (README*.md, spec.yaml, icon.png), else by its media type.
 * 3. What is left and is a tar by media type or title is an `archive`; a title that ends like a text (LICENSE, .json) is not.
 *    Configs, attestations, signatures, the OCI empty layer are `other`: never opened. The rest is `unknown`.
 * 4. The one module that is titled exactly `plugin.wasm` wins over everything.
 * 5. Else a single module wins if there is no archive. Several modules, or modules and archives: ambiguous.
 * 6. Else all archives together are an image, read from the top down (see PluginSearch).
 * 7. Else a single unknown layer is looked into.
 *
 * `kind` is what the image seems to be, for the refusal. The same digest twice is one layer. What a layer really holds (raw module, gzip, zstd, tar) its own bytes say later.
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
    throw refuseEncrypted(subject, parts);
  const ambiguous = (why: string) =>
    new LayerAmbiguous(`${subject}: ${why}; ${describeLayers(layersOf(parts), roleNotes(parts))}`, {
      subject,
      expected: 'one layer that is the plugin',
      found: why,
      hint: 'Push the plugin as the only module of its image, or title its layer plugin.wasm.',
    });
  if (named.length > 1) throw ambiguous(`${named.length} different layers are titled plugin.wasm`);
  if (modules.length > 1) throw ambiguous(`${modules.length} layers are modules and none is titled plugin.wasm`);
  if (modules.length > 0 && archives.length > 0)
    throw ambiguous('there are a module and an archive, and the module is not titled plugin.wasm');
  if (modules.length > 0) return modules;
  if (archives.length > MAX_ARCHIVES)
    throw new LayerHostile(
      `${subject}: the image has ${archives.length} archive layers; ${MAX_ARCHIVES} are the most`,
      {
        subject,
        expected: `at most ${MAX_ARCHIVES} archive layers`,
        found: String(archives.length),
        hint: 'Build the plugin image FROM scratch with nothing but plugin.wasm in it.',
      },
    );
  if (archives.length > 0) return archives.toReversed();
  if (unknown.length > 1)
    throw ambiguous(`${unknown.length} layers could be the plugin by their media types and titles`);
  if (unknown.length > 0) return unknown;
  throw new LayerNoPlugin(
    `${subject}: ${kind === undefined ? '' : `it is ${kind}, not a plugin: `}no layer can hold a plugin; ${describeLayers(layersOf(parts), roleNotes(parts))}`,
    {
      subject,
      expected: 'a layer with a Wasm module, or a tar that holds plugin.wasm',
      found: kind ?? otherLayers(parts.length),
      hint: 'Check that the reference names a plugin image, and not a signature, an SBOM or a Helm chart.',
    },
  );
}

export function refuseEncrypted(subject: string, parts: readonly LayerPart[]): LayerEncrypted {
  return new LayerEncrypted(
    `${subject}: the layer that may hold the plugin is encrypted; ${describeLayers(layersOf(parts), roleNotes(parts))}`,
    {
      subject,
      expected: 'layers that can be read without a key',
      found: 'a media type that ends in +encrypted',
      hint: 'Push the plugin without encryption: gateways cannot load it either.',
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

// Container engines stop at 127 layers; each one costs a request.
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
  // ORAS packs a folder into a tar and titles it with the folder's name, whatever that looks like.
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
  // A second copy may be the one with the telling title.
  for (const part of [...parts].sort((a, b) => Number(isNamed(b)) - Number(isNamed(a)))) {
    if (!digests.has(part.layer.digest)) first.push(part);
    digests.add(part.layer.digest);
  }
  return first;
}

function isNamed(part: LayerPart): boolean {
  return titleOf(part.layer) === 'plugin.wasm';
}
