import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BundleOptions, type BundleReport, type BundleTarget, bundle } from '../../mirror/bundle/bundle.ts';
import { lockfilePath } from '../../mirror/lockfile/lockfile.ts';
import { readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { limitsOf, type SyncJob, selectVersions } from '../../mirror/plan/job.ts';
import { Session } from '../../mirror/session.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import type { Cleanup } from '../support/cli.ts';
import { imageFormA, imageFormC, imageFormD, imageOf, indexOf, type TestImage } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { payloadFor, signatureImage, sigTag, simpleLayer } from './signing.ts';

const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

/** Two images, one of them signed and with an SBOM, and an index of which a child is in the registry. */
export const a1 = imageFormA({ wasm: buildModule({ seed: 'a1', sizeBytes: 8000 }), readme: '# a' });
export const a2 = imageFormC({ wasm: buildModule({ seed: 'a2', sizeBytes: 9000 }) });
export const inIndex = imageFormD({ wasm: buildModule({ seed: 'b', sizeBytes: 7000 }) });
export const index = indexOf([{ platform: 'linux/amd64', image: inIndex }], { attestations: true });
export const sbom = imageOf({
  artifactType: 'application/spdx+json',
  layers: [{ mediaType: 'application/spdx+json', body: Buffer.from('{"spdx":1}') }],
  subject: { mediaType: a2.mediaType, digest: a2.digest, size: a2.manifest.length },
});

/** A registry with these images, and a folder to pack them in. */
export interface BundleScene {
  readonly dir: string;
  readonly registry: TestRegistry;
  path(name: string): string;
  list(plugins: object, more?: object): Promise<void>;
  /** `bundle --out NAME`, in this process. Each call resolves the tags again, unless `frozen`. */
  pack(
    name: string,
    options?: Partial<BundleOptions & BundleTarget> & { readonly frozen?: boolean },
  ): Promise<BundleReport>;
  /** Changes one byte of a blob in a file. */
  damage(name: string, blob: Buffer): Promise<void>;
}

export const everything = { a: { versions: ['1.0.0', '2.0.0'], aliases: { latest: '2.0.0' } }, b: '1.0.0' };

export async function openBundleScene(t: Cleanup): Promise<BundleScene> {
  const registry = await startRegistry();
  const dir = await mkdtemp(join(tmpdir(), 'bundles-'));
  t.after(async () => {
    await registry.close();
    await rm(dir, { recursive: true, force: true });
  });
  registry.push('plugins/a', '1.0.0', a1);
  registry.push('plugins/a', '2.0.0', a2);
  registry.push('plugins/a', null, sbom);
  registry.push('plugins/a', sigTag(a1.digest), signatureImage([simpleLayer(key, payloadFor(a1.digest))]));
  registry.push('plugins/b', '1.0.0', index);
  const path = (name: string): string => join(dir, name);
  return {
    dir,
    registry,
    path,
    list: (plugins, more = {}) =>
      writeFile(path('manifest.json'), JSON.stringify({ registry: registry.host, plugins, ...more })),
    async pack(name, { frozen = false, kind = 'tar', ...options } = {}) {
      if (!frozen) await rm(path('manifest.lock.json'), { force: true });
      const { signal } = new AbortController();
      const session = new Session({
        openRegistry: onEvent => openRegistry({ onEvent, cacheDir: path('cache') }),
        signal,
      });
      const all = { only: [], attachments: true, since: undefined, version: '1.2.3', ...options };
      try {
        const target = { ...options, kind, path: path(name) } as BundleTarget;
        return await bundle(await jobOf(path('manifest.json'), all.only), all, target, session);
      } finally {
        await session.registry.close();
      }
    },
    async damage(name, blob) {
      const bytes = await readFile(path(name));
      const at = bytes.indexOf(blob) + Math.floor(blob.length / 2);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      await writeFile(path(name), bytes);
    },
  };
}

async function jobOf(manifestPath: string, only: readonly string[]): Promise<SyncJob> {
  const manifest = await readPluginManifest(manifestPath);
  return {
    manifest,
    selection: selectVersions(manifest, { only }),
    lockfile: { path: lockfilePath(manifest.file), mode: 'renewed', update: false },
    tree: { dir: 'unused', rehash: false, prune: false, codings: [], waitMs: 0 },
    limits: limitsOf(8),
  };
}

/** The largest blob of an image. */
export function largest({ blobs }: TestImage): Buffer {
  return [...blobs.values()].reduce((one, other) => (one.length > other.length ? one : other));
}
