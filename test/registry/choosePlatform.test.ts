import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Descriptor } from '../../registry/image.ts';
import { parsePlatform } from '../../registry/image.ts';
import { choosePlatform } from '../../registry/images/choosePlatform.ts';
import { parseManifest } from '../../registry/images/parseManifest.ts';

const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const entry = (platform: string | undefined, extra: Partial<Descriptor> = {}): Descriptor => {
  const [os = '', architecture = '', variant] = platform?.split('/') ?? [];
  return {
    mediaType: IMAGE,
    digest: `sha256:${'a'.repeat(64)}`,
    size: 1,
    ...(platform === undefined
      ? {}
      : { platform: { os, architecture, ...(variant === undefined ? {} : { variant }) } }),
    ...extra,
  };
};
const attestation = entry('unknown/unknown', { annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } });
const choose = (entries: readonly Descriptor[], asked?: string) =>
  choosePlatform(entries, asked === undefined ? undefined : parsePlatform(asked), 'an image');

describe('the image of an index', () => {
  const table: [string, (string | undefined)[], string | undefined, number | undefined][] = [
    ['is linux/amd64 if nobody asks', ['linux/arm64', 'linux/amd64'], undefined, 1],
    ['is the only one, whatever its platform', ['wasi/wasm'], undefined, 0],
    ['is the only one without a platform', [undefined], undefined, 0],
    ['is the first without linux/amd64', ['wasi/wasm', 'linux/arm64'], undefined, 0],
    ['is the one asked for', ['linux/amd64', 'linux/arm64/v8'], 'linux/arm64', 1],
    ['is the one asked for by its usual other name', ['linux/amd64', 'linux/arm64'], 'linux/aarch64', 1],
    ['is of the exact variant', ['linux/arm/v6', 'linux/arm/v7', 'linux/arm/v5'], 'linux/arm/v6', 0],
    ['is of the next older variant', ['linux/arm/v5', 'linux/arm/v6'], 'linux/arm/v7', 1],
    ['is never of a newer variant than asked for', ['linux/arm/v7'], 'linux/arm/v6', undefined],
    ['is of a newer variant if none was asked for', ['linux/amd64/v3'], 'linux/amd64', 0],
    ['is not of another system', ['windows/amd64'], 'linux/amd64', undefined],
    ['is none if no platform is known', [undefined], 'linux/amd64', undefined],
  ];
  for (const [name, platforms, asked, expected] of table)
    it(name, () => {
      const entries = platforms.map(platform => entry(platform));
      if (expected === undefined) assert.throws(() => choose(entries, asked), { code: 'IMAGE_NO_PLATFORM' });
      else assert.equal(choose(entries, asked), entries[expected]);
    });

  it('is never an attestation or another artifact', () => {
    const real = entry('linux/s390x');
    assert.equal(choose([attestation, real, entry('linux/amd64', { mediaType: 'application/vnd.x+json' })]), real);
    assert.throws(() => choose([attestation, entry('unknown/unknown')]), { code: 'IMAGE_NO_PLATFORM' });
    assert.throws(() => choose([]), { code: 'IMAGE_NO_PLATFORM' });
  });

  it('is reported as missing if there are only attestations', () => {
    const alone = 'an image is an index of attestations only (platform unknown/unknown), without ';
    const both = [attestation, entry('unknown/unknown')];
    assert.throws(() => choose(both), {
      message: `${alone}an image`,
      hint: /Push the index again together with its images/,
    });
    assert.throws(() => choose(both, 'linux/arm64'), { message: `${alone}an image for linux/arm64` });
    const artifact = entry('linux/amd64', { mediaType: 'application/vnd.x+json' });
    for (const entries of [[], [attestation, artifact]])
      assert.throws(() => choose(entries), { message: 'an image has no image', hint: /names a plugin image/ });
  });

  it('is reported as missing in one line, however many platforms the index has', () => {
    const entries = Array.from({ length: 25_000 }, (_, at) => entry(`os${at}/a`));
    assert.throws(
      () => choose(entries, 'linux/amd64'),
      (error: unknown) => {
        const text = JSON.stringify(error);
        return /os0\/a, os1\/a,.* os19\/a, and 24980 more/.test(text) && text.length < 2000;
      },
    );
  });

  for (const text of ['linux', 'linux/', '/amd64', 'linux/amd64/v1/x', 'linux/am d64', ''])
    it(`cannot be requested as "${text}"`, () => {
      assert.throws(() => parsePlatform(text), { code: 'REGISTRY_OPTIONS' });
    });
});

describe('a manifest', () => {
  const descriptor = { mediaType: 'a/b', digest: `sha256:${'0'.repeat(64)}`, size: 3 };
  const read = (document: unknown, type = '') => {
    const text = typeof document === 'string' ? document : JSON.stringify(document);
    return parseManifest(Buffer.from(text), type, 'an image');
  };
  const image = { schemaVersion: 2, config: descriptor, layers: [descriptor] };

  it('is identified by its own media type, by the header, or by its members', () => {
    const docker = 'application/vnd.docker.distribution.manifest.v2+json';
    for (const parsed of [read({ ...image, mediaType: docker }), read(image, `${docker}; charset=utf-8`)])
      assert.equal(parsed.kind === 'image' && parsed.manifest.mediaType, docker);
    assert.equal(read(image, 'application/json').kind, 'image');
    assert.equal(read({ schemaVersion: 2, manifests: [descriptor] }, 'text/plain').kind, 'index');
    assert.equal(read({ schemaVersion: 2, mediaType: docker.replace('v2', 'list.v2'), manifests: [] }).kind, 'index');
  });

  it('may have null for a missing member', () => {
    const parsed = read({ ...image, annotations: null, config: { ...descriptor, platform: null, annotations: null } });
    assert.deepEqual(parsed.kind === 'image' && parsed.manifest.config, descriptor);
  });

  const odd: [string, unknown, string, string][] = [
    ['is not JSON', '{', '', 'REGISTRY_PROTOCOL'],
    ['is nothing', '', IMAGE, 'REGISTRY_PROTOCOL'],
    ['is a page', '<!doctype html><html>', 'text/html', 'REGISTRY_PROTOCOL'],
    ['is a list', [], IMAGE, 'IMAGE_MANIFEST_INVALID'],
    ['is null', 'null', IMAGE, 'IMAGE_MANIFEST_INVALID'],
    ['is image and index at once', { ...image, manifests: [] }, IMAGE, 'IMAGE_MANIFEST_INVALID'],
    ['is schema 1', { schemaVersion: 1 }, '', 'IMAGE_TYPE_UNSUPPORTED'],
    [
      'is an artifact manifest',
      { mediaType: 'application/vnd.oci.artifact.manifest.v1+json', blobs: [] },
      '',
      'IMAGE_TYPE_UNSUPPORTED',
    ],
    ['is something else', { hello: 1 }, 'application/json', 'IMAGE_TYPE_UNSUPPORTED'],
    ['has no layers', { schemaVersion: 2, config: descriptor }, IMAGE, 'IMAGE_MANIFEST_INVALID'],
    ['has a short digest', { ...image, layers: [{ ...descriptor, digest: 'sha256:0' }] }, '', 'IMAGE_MANIFEST_INVALID'],
    ['has half a byte', { ...image, layers: [{ ...descriptor, size: 0.5 }] }, '', 'IMAGE_MANIFEST_INVALID'],
    [
      'has more than can be counted',
      { ...image, layers: [{ ...descriptor, size: 2 ** 60 }] },
      '',
      'IMAGE_MANIFEST_INVALID',
    ],
    ['has numbers for text', { ...image, annotations: { a: 1 } }, '', 'IMAGE_MANIFEST_INVALID'],
  ];
  for (const [name, document, type, code] of odd)
    it(`is refused if it ${name}`, () => {
      assert.throws(() => read(document, type), { code });
    });

  it('says which tool wrote an artifact manifest', () => {
    const type = 'application/vnd.oci.artifact.manifest.v1+json';
    for (const sent of [type, 'application/json'])
      assert.throws(() => read({ mediaType: type, blobs: [] }, sent), {
        message: /an artifact manifest .*withdrawn/,
        hint: /ORAS 0\.15 or 0\.16: push it again/,
      });
  });
});
