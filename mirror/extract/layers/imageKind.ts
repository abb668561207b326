import type { ImageManifest } from '../../../registry/image.ts';
import { quotedText } from './errors.ts';

// Media types of other artifacts in registries: Helm, Cosign and Sigstore's bundles, Notation, in-toto, CycloneDX, SPDX, Flux,
// OPA, Singularity, Docker Compose, language models, Docker's own plugins.
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
/** Files that a container image has and a plugin image has not. */
const SHELL = /^(?:usr\/)?bin\/(?:ba|da|z)?sh$/;
const SYSTEM_FILE = /^(?:bin|sbin|usr|etc|lib|lib64|opt|app)\//;

/**
 * Returns what an image without a plugin is (`a Helm chart`), by its media types and by one of the files seen in its layers.
 * Undefined if neither says so.
 */
export function nameImage(manifest: ImageManifest, systemFile: string | undefined): string | undefined {
  const { artifactType = '', config, layers } = manifest;
  const types = [artifactType, config.mediaType, ...layers.map(({ mediaType }) => mediaType)];
  for (const [pattern, kind] of KINDS) if (types.some(type => pattern.test(type))) return kind;
  if (CONTAINER.test(config.mediaType) || systemFile !== undefined)
    return `a container image${systemFile === undefined ? '' : ` (there is ${quotedText(systemFile)} in it)`}`;
  // ORAS writes the second one if no type is given.
  return artifactType === '' || artifactType === 'application/vnd.unknown.artifact.v1'
    ? undefined
    : `an artifact of type ${quotedText(artifactType)}`;
}

/** Returns the file that best shows that an image is a container image: a shell, otherwise any file of a system folder. */
export function betterSystemFile(known: string | undefined, path: string): string | undefined {
  const bare = path.replace(/^(?:\.?\/)+/, '');
  if (SHELL.test(bare) && !SHELL.test(known ?? '')) return bare;
  return known ?? (SYSTEM_FILE.test(bare) ? bare : undefined);
}
