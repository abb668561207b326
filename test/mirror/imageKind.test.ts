import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LayerNoPlugin } from '../../mirror/extract/layers/errors.ts';
import { betterSystemFile, nameImage } from '../../mirror/extract/layers/imageKind.ts';
import { assignRoles, chooseLayers } from '../../mirror/extract/layers/layerRoles.ts';
import type { ImageManifest } from '../../registry/image.ts';

function manifestOf(config: string, layers: readonly string[] = [], artifactType?: string): ImageManifest {
  const descriptor = (mediaType: string) => ({ mediaType, digest: `sha256:${'0'.repeat(64)}` as const, size: 1 });
  return {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: descriptor(config),
    layers: layers.map(descriptor),
    ...(artifactType === undefined ? {} : { artifactType }),
  };
}

test('an artifact that is not a plugin is named by its kind', () => {
  const empty = 'application/vnd.oci.empty.v1+json';
  const unknown = 'application/vnd.unknown.config.v1+json';
  for (const [manifest, file, expected] of [
    [manifestOf('application/vnd.cncf.helm.config.v1+json'), undefined, 'a Helm chart'],
    [manifestOf(empty, ['application/vnd.dev.cosign.simplesigning.v1+json']), undefined, 'a signature'],
    [manifestOf(empty, [], 'application/vnd.dev.sigstore.bundle.v0.3+json'), undefined, 'a signature'],
    [manifestOf(empty, ['application/vnd.in-toto+json']), undefined, 'an attestation'],
    [manifestOf(empty, [], 'application/vnd.cyclonedx+json'), undefined, 'a bill of materials (SBOM)'],
    [manifestOf('application/vnd.docker.container.image.v1+json'), undefined, 'a container image'],
    [manifestOf('application/vnd.oci.image.config.v1+json'), 'bin/sh', 'a container image (there is bin/sh in it)'],
    [manifestOf(unknown), 'etc/passwd', 'a container image (there is etc/passwd in it)'],
    [manifestOf(unknown), undefined, undefined],
    // What ORAS writes where nobody said what it is.
    [manifestOf(unknown, [], 'application/vnd.unknown.artifact.v1'), undefined, undefined],
    [manifestOf(empty, [], 'application/x-\u001b[31m'), undefined, 'an artifact of type application/x-\\x1b[31m'],
  ] as const)
    assert.equal(nameImage(manifest, file), expected);
});

test('a shell is the preferred evidence of a container image', () => {
  const paths = ['readme', 'etc/passwd', './usr/bin/bash', 'bin/sh'];
  assert.equal(paths.reduce(betterSystemFile, undefined as string | undefined), 'usr/bin/bash');
  assert.equal(betterSystemFile(undefined, 'plugin.wasm'), undefined);
  assert.equal(betterSystemFile('etc/passwd', 'lib/x'), 'etc/passwd');
});

test('layers that cannot be a plugin are counted', () => {
  const layer = { mediaType: 'text/plain', digest: `sha256:${'0'.repeat(64)}` as const, size: 1 };
  for (const [count, found] of [
    [0, 'no layers'],
    [1, 'one layer of another kind'],
    [2, '2 layers of other kinds'],
  ] as const)
    assert.throws(
      () => chooseLayers('p 1.0.0', assignRoles(Array.from({ length: count }, () => layer)), undefined),
      (error: unknown) => error instanceof LayerNoPlugin && error.found === found,
    );
});
