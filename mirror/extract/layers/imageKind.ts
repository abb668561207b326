import type { ImageManifest } from '../../../registry/image.ts';
import { printable } from './layerRefusals.ts';

// Media types by which others mark what they keep in registries: Helm, Cosign and the bundle format of Sigstore, Notation,
// in-toto, CycloneDX, SPDX, Flux, OPA, Singularity, the Compose and Docker AI projects, WASI's component images.
const KINDS: readonly (readonly [pattern: RegExp, kind: string])[] = [
  [/^application\/vnd\.cncf\.helm\./, 'a Helm chart'],
  [/^application\/vnd\.dev\.(?:cosign|sigstore)\./, 'a signature'],
  [/^application\/vnd\.cncf\.notary\./, 'a signature'],
  [/^application\/vnd\.in-toto\+|[/.]in-toto\./, 'an attestation'],
  [/cyclonedx|spdx|syft/, 'a bill of materials (SBOM)'],
  [/^application\/vnd\.cncf\.flux\./, 'a Flux artifact'],
  [/^application\/vnd\.cncf\.openpolicyagent\./, 'a policy bundle'],
  [/^application\/vnd\.sylabs\.sif/, 'a Singularity image'],
  [/^application\/vnd\.docker\.compose\./, 'a Compose project'],
  [/^application\/vnd\.(?:docker\.ai|ollama|cncf\.model)\./, 'a language model'],
  [/^application\/vnd\.docker\.plugin\./, 'a plugin of Docker itself'],
];

const CONTAINER = /^application\/vnd\.(?:docker\.container\.image|oci\.image\.config)\.v1\+json$/;
/** What a container has and an image with nothing but a plugin in it has not. */
const SHELL = /^(?:usr\/)?bin\/(?:ba|da|z)?sh$/;
const SYSTEM_FILE = /^(?:bin|sbin|usr|etc|lib|lib64|opt|app)\//;

/**
 * What an image without a plugin is, by its media types and, for a container image, one of the files that were seen in it;
 * undefined if it could be anything.
 */
export function nameImage(manifest: ImageManifest, systemFile: string | undefined): string | undefined {
  const { artifactType = '', config, layers } = manifest;
  const types = [artifactType, config.mediaType, ...layers.map(({ mediaType }) => mediaType)];
  for (const [pattern, kind] of KINDS) if (types.some(type => pattern.test(type))) return kind;
  if (CONTAINER.test(config.mediaType) || systemFile !== undefined)
    return `a container image${systemFile === undefined ? '' : ` (there is ${printable(systemFile)} in it)`}`;
  // What tools put there that were told of no type says nothing of what it is.
  return artifactType === '' || artifactType === 'application/vnd.unknown.artifact.v1'
    ? undefined
    : `an artifact of type ${printable(artifactType)}`;
}

/** Of the files seen so far, the one that tells best that this is a whole system: a shell, else any. */
export function moreTelling(known: string | undefined, path: string): string | undefined {
  const bare = path.replace(/^(?:\.?\/)+/, '');
  if (SHELL.test(bare) && !SHELL.test(known ?? '')) return bare;
  return known ?? (SYSTEM_FILE.test(bare) ? bare : undefined);
}
