import pMap from 'p-map';
import { asError } from '../../base/refusal.ts';
import { parseManifestDocument } from '../../layout/manifestDocument.ts';
import { RegistryNotFound } from '../../registry/errors.ts';
import { type GatheredImage, gatherImage, type ImageSource } from '../../registry/images/gatherImage.ts';
import type { PushBlob, PushedManifest, Pusher } from '../../registry/push/openPusher.ts';
import { type Digest, formatReference, type Reference } from '../../registry/reference.ts';
import { lockDiffers, missingLockfile } from '../lockfile/errors.ts';
import { differencesIn, readLockedVersions } from '../lockfile/lockedVersions.ts';
import type { LockfileEntry } from '../lockfile/lockfile.ts';
import { originOf } from '../manifest/origin.ts';
import type { WantedVersion } from '../manifest/wanted.ts';
import { BundleBaseMissing, type BundleUse, type SyncJob } from '../plan/job.ts';
import { versionKey } from '../report.ts';
import type { Session } from '../session.ts';
import { PushTagTaken } from './errors.ts';
import { type LocalImage, localImage } from './localImage.ts';

export interface PushTarget {
  readonly pusher: Pusher;
  /** `HOST[:PORT]`. */
  readonly registry: string;
  /** Put before every repository; may be empty. */
  readonly prefix: string;
  /** Replace tags that lead to other images. */
  readonly force: boolean;
  /** Only look what would be pushed. */
  readonly dryRun: boolean;
  readonly attachments: boolean;
}

/** `kept`: the registry has all of it. `pushed`: the image or something that travels with it; in a dry run, it would be pushed. */
export type PushStatus = 'pushed' | 'kept' | 'failed';

export interface PushOutcome {
  readonly name: string;
  readonly version: string;
  readonly status: PushStatus;
  /** Where it was pushed to: `HOST/REPOSITORY:TAG`. */
  readonly reference: string;
  readonly digest?: string;
  readonly error?: Error;
}

export interface PushReport {
  readonly outcomes: readonly PushOutcome[];
  readonly uploadedBlobs: number;
  readonly mountedBlobs: number;
}

interface Parts {
  readonly root: Digest;
  /** Children before their index, referrers after what they refer to. */
  readonly manifests: readonly (PushedManifest & { readonly tag?: string })[];
  readonly blobs: readonly PushBlob[];
}

/**
 * Pushes the locked images to a registry, from other registries or from a bundle: manifests unchanged, under upstream's
 * repository names and tags. A version that fails, or for which manifest and lockfile disagree, stops no other one. A tag that
 * leads to another image, or to signatures without ours, is not replaced, and nothing of its image is pushed.
 * @throws FrozenLockMissing, and the lockfile's refusals; the signal's reason
 */
export async function pushImages(job: SyncJob, target: PushTarget, session: Session): Promise<PushReport> {
  const { path, shown = path } = job.lockfile;
  const { includes } = job.selection;
  // Whole images are copied, so no platform is compared.
  const question = { ...job, selection: { includes }, lockfile: { ...job.lockfile, mode: 'renewed' } } as const;
  const { exists, agreeing, comparison } = await readLockedVersions(question, session.signal);
  if (!exists) throw missingLockfile(path, 'push');
  const entryOf = (version: WantedVersion): LockfileEntry => {
    const entry = agreeing.get(versionKey(version));
    if (entry !== undefined) return entry;
    const added = comparison.added.filter(includes);
    const changed = comparison.changed.filter(({ wanted }) => includes(wanted));
    throw lockDiffers(shown, differencesIn({ added, changed, removed: [] }), job.bundle !== undefined);
  };
  const names = new Map(job.manifest.versions.map(wanted => [versionKey(wanted), wanted]));
  const { versions } = job.selection;
  const sources = versions.map(wanted => {
    const named = names.get(versionKey(wanted)) ?? wanted;
    try {
      return sourceOf(wanted, named, entryOf(wanted), target);
    } catch (error) {
      return { wanted, origin: originOf(named), error: asError(error) };
    }
  });
  // An image that fails leaves requests of its other parts behind, which would be repeated after the target was closed.
  const run = new AbortController();
  const signal = AbortSignal.any([session.signal, run.signal]);
  const push = new ImagePush(target, job.bundle, session, signal);
  session.onEvent({ type: 'asking', versions: versions.length });
  try {
    const { versions: concurrency } = job.limits;
    const outcomes = await pMap(refuseClashes(sources), source => push.version(source), { concurrency, signal });
    return { outcomes, uploadedBlobs: push.uploaded, mountedBlobs: push.mounted };
  } finally {
    run.abort(new Error('the push has ended'));
  }
}

/** An image to push. */
interface PushSource {
  readonly wanted: WantedVersion;
  /** As the manifest has it, whichever registry is asked. */
  readonly origin: string;
  readonly digest: Digest;
  /** Where it is pushed to; without a tag, by its digest. */
  readonly at: Reference;
  readonly local: LocalImage | undefined;
}

type FailedSource = Pick<PushSource, 'wanted' | 'origin'> & Partial<PushSource> & { readonly error: Error };

function sourceOf(wanted: WantedVersion, named: WantedVersion, entry: LockfileEntry, target: PushTarget): PushSource {
  const local = named.source.kind === 'file' ? localImage(wanted, entry) : undefined;
  const { repository, tag } = local?.name ?? (named.source as { reference: Reference }).reference;
  const digest = local?.manifest.digest ?? (entry as { digest: Digest }).digest;
  const { registry, prefix } = target;
  const path = prefix === '' ? repository : `${prefix}/${repository}`;
  const at = { registry, repository: path, ...(tag === undefined ? { digest } : { tag }) };
  return { wanted, origin: originOf(named), digest, at, local };
}

/** Images of two registries may have one name at the target: all but the first of them fail, unless it is the same image. */
function refuseClashes(sources: readonly (PushSource | FailedSource)[]): (PushSource | FailedSource)[] {
  const first = new Map<string, PushSource>();
  return sources.map(source => {
    if ('error' in source) return source;
    const name = formatReference(source.at);
    const other = first.get(name) ?? source;
    first.set(name, other);
    if (other.digest === source.digest) return source;
    // A version that is pinned by its digest has the tag of another one.
    const isOneTag = source.origin === other.origin;
    const [one, two] = [source, other].map(it => (isOneTag ? `${it.wanted.name} ${it.wanted.version}` : it.origin));
    const error = new PushTagTaken(`${one} and ${two} have the same name at the target, ${name}`, {
      subject: `${source.wanted.name} ${source.wanted.version}`,
      expected: `one image for ${name}`,
      found: `${other.digest} of ${other.origin}, and ${source.digest} of ${source.origin}`,
      hint: 'Push them to different prefixes, in two runs: --only chooses the plugins of each.',
    });
    return { ...source, error };
  });
}

class ImagePush {
  uploaded = 0;
  mounted = 0;
  readonly #target: PushTarget;
  readonly #bundle: BundleUse | undefined;
  readonly #session: Session;
  /** Ends with the session or with the push. */
  readonly #signal: AbortSignal;
  /** Blobs that are being pushed or were pushed, by repository and digest, and a repository of each digest. */
  readonly #pushing = new Map<string, Promise<void>>();
  readonly #holders = new Map<string, string>();
  /** Manifests that this run pushes next to images, by their names at the target. */
  readonly #attached = new Map<string, PushedManifest>();

  constructor(target: PushTarget, bundle: BundleUse | undefined, session: Session, signal: AbortSignal) {
    this.#target = target;
    this.#bundle = bundle;
    this.#session = session;
    this.#signal = signal;
  }

  /** @throws only the signal's reason */
  async version(source: PushSource | FailedSource): Promise<PushOutcome> {
    const { wanted, origin, at } = source;
    const { name, version } = wanted;
    const reference = at === undefined ? origin : formatReference(at);
    if ('error' in source) return { name, version, status: 'failed', reference, error: source.error };
    const { local } = source;
    try {
      const status = await this.#push(source.at, source.digest, () =>
        local === undefined ? this.#gather(wanted, source.digest, source.at) : Promise.resolve(partsOfLocal(local)),
      );
      return { name, version, status, reference, digest: source.digest };
    } catch (error) {
      this.#signal.throwIfAborted();
      return { name, version, status: 'failed', reference, error: asError(error) };
    }
  }

  async #push(at: Reference, digest: Digest, gather: () => Promise<Parts>): Promise<'pushed' | 'kept'> {
    const { pusher, force, dryRun } = this.#target;
    const signal = this.#signal;
    // The registry is asked for all manifests at the same time: most of a second push is waiting for its replies.
    const gathered = gather();
    const others = gathered.then(({ root, manifests }) =>
      pMap(
        manifests.filter(manifest => manifest.digest !== root),
        async manifest => ((await this.#isThere(targetOf(at, manifest, root), manifest)) ? undefined : manifest),
        { concurrency: 4, signal },
      ),
    );
    others.catch(() => undefined); // It is awaited below, unless the root decides.
    const found = await pusher.digestAt(at, signal);
    if (found !== undefined && found !== digest && !force) throw tagTaken(at, digest, found);
    const parts = await gathered.catch((error: unknown) => {
      // A delta does not contain the images of its base: the registry must have them.
      if (found === digest && error instanceof RegistryNotFound) return undefined;
      if (this.#bundle?.requires.has(digest) && error instanceof RegistryNotFound)
        throw baseMissing(this.#bundle.path, at, digest, found);
      throw error;
    });
    if (parts === undefined) return 'kept';
    // Signatures may have come later than their image.
    const absent = new Set(await others);
    const missing = parts.manifests.filter(manifest =>
      manifest.digest === parts.root ? found !== digest : absent.has(manifest),
    );
    if (missing.length === 0) return 'kept';
    if (dryRun) return 'pushed';
    await pMap(parts.blobs, blob => this.#pushBlob(at, blob), { concurrency: 4, signal });
    for (const manifest of missing) await pusher.pushManifest(targetOf(at, manifest, parts.root), manifest, signal);
    return 'pushed';
  }

  /**
   * @returns whether the target has a manifest, or signatures that include it, or gets them in this run
   * @throws PushTagTaken for other signatures
   */
  async #isThere(at: Reference, manifest: PushedManifest): Promise<boolean> {
    const { pusher, force } = this.#target;
    const signal = this.#signal;
    const digest = await pusher.digestAt(at, signal);
    if (digest === manifest.digest) return true;
    const found = digest === undefined ? undefined : await pusher.manifestAt(at, signal);
    if (found !== undefined && includesSignatures(found.bytes, manifest.bytes)) return true;
    // A signature was added at the source: those at the target are all in the manifest that replaces them.
    const isExtended = found !== undefined && includesSignatures(manifest.bytes, found.bytes);
    if (found !== undefined && !isExtended && !force)
      throw signaturesTaken(`${formatReference(at)} has other signatures there`, at, manifest, found);
    // One image of two registries, each with signatures of its own.
    const name = formatReference(at);
    const pushed = this.#attached.get(name) ?? manifest;
    this.#attached.set(name, pushed);
    if (pushed.digest === manifest.digest) return false;
    if (includesSignatures(pushed.bytes, manifest.bytes)) return true;
    throw signaturesTaken(`${name} would have different signatures of two registries`, at, manifest, pushed);
  }

  /** A blob that several images share is pushed once, and mounted from there into other repositories. */
  #pushBlob(at: Reference, blob: PushBlob): Promise<void> {
    const { registry, repository } = at;
    const key = `${repository} ${blob.digest}`;
    const running = this.#pushing.get(key);
    if (running !== undefined) return running;
    const holder = this.#holders.get(blob.digest);
    const from = holder === undefined ? undefined : this.#pushing.get(`${holder} ${blob.digest}`);
    const work = (async () => {
      await from?.catch(() => undefined);
      const result = await this.#target.pusher.pushBlob({ registry, repository }, blob, holder, this.#signal);
      if (result === 'uploaded') this.uploaded++;
      if (result === 'mounted') this.mounted++;
    })();
    this.#pushing.set(key, work);
    if (holder === undefined) this.#holders.set(blob.digest, repository);
    return work;
  }

  async #gather({ source }: WantedVersion, digest: Digest, at: Reference): Promise<Parts> {
    const { registry } = this.#session;
    const signal = this.#signal;
    const { attachments } = this.#target;
    const opened = await registry.get();
    const reference = { ...(source as { reference: Reference }).reference, digest };
    const images = this.#bundle?.requires.has(digest) ? this.#onBase(opened, at) : opened;
    const image = await gatherImage(images, reference, { attachments }, signal);
    return {
      root: digest,
      manifests: inPushOrder(image),
      blobs: image.blobs.map(blob => ({
        digest: blob.digest,
        size: blob.size,
        open: own => opened.openBlob(image.reference, blob, own),
      })),
    };
  }

  /** A delta may have new signatures of an image whose manifests it leaves to its base: those are read from the target. */
  #onBase(opened: ImageSource, { registry, repository }: Reference): ImageSource {
    const { pusher } = this.#target;
    const signal = this.#signal;
    return {
      fetchImage: (...of) => opened.fetchImage(...of),
      listReferrers: (...of) => opened.listReferrers(...of),
      fetchManifest: (reference, own) =>
        opened.fetchManifest(reference, own).catch(async (error: unknown) => {
          if (!(error instanceof RegistryNotFound)) throw error;
          const found = await pusher.manifestAt({ registry, repository, digest: reference.digest }, signal);
          if (found === undefined) throw error;
          return found.bytes;
        }),
    };
  }
}

function inPushOrder({ manifests, attachments }: GatheredImage): Parts['manifests'] {
  const tags = new Map(attachments.map(({ manifest, tag }) => [manifest.digest, tag]));
  const own = manifests.filter(({ digest }) => !tags.has(digest)).reverse();
  const attached = manifests.filter(({ digest }) => tags.has(digest));
  return [...own, ...attached].map(manifest => {
    const tag = tags.get(manifest.digest);
    return tag === undefined ? manifest : { ...manifest, tag };
  });
}

function partsOfLocal({ manifest, blobs }: LocalImage): Parts {
  return {
    root: manifest.digest,
    manifests: [manifest],
    blobs: blobs.map(({ digest, size, open }) => ({ digest, size, open })),
  };
}

/** The root is pushed by its tag, a signature by cosign's, any other manifest by its digest. */
function targetOf(
  { registry, repository, tag }: Reference,
  manifest: Parts['manifests'][number],
  root: Digest,
): Reference {
  const own = manifest.digest === root ? tag : manifest.tag;
  return { registry, repository, ...(own === undefined ? { digest: manifest.digest } : { tag: own }) };
}

/**
 * cosign signs again by adding a layer to the manifest under its tag. The payload is the same for each key, so a layer is
 * identified by the signature in its annotations as well (cosign, specs/SIGNATURE_SPEC.md).
 */
function includesSignatures(found: Buffer, ours: Buffer): boolean {
  const [there, own] = [found, ours].map(bytes => {
    const { layers } = parseManifestDocument(bytes);
    return (Array.isArray(layers) ? layers : []).map((layer: unknown) => {
      const { digest, annotations } = Object(layer) as { digest?: unknown; annotations?: unknown };
      const signed = Object(annotations) as Record<string, unknown>;
      return `${digest} ${signed['dev.cosignproject.cosign/signature']}`;
    });
  }) as [string[], string[]];
  return own.length > 0 && own.every(layer => there.includes(layer));
}

function signaturesTaken(
  what: string,
  at: Reference,
  ours: Pick<PushedManifest, 'digest'>,
  found: Pick<PushedManifest, 'digest'>,
): PushTagTaken {
  return new PushTagTaken(what, {
    subject: formatReference(at),
    expected: `${ours.digest}, or a manifest with its signatures and more`,
    found: found.digest,
    hint: 'Check which signatures are right. --force replaces those at the target; --no-referrers pushes the images without signatures.',
  });
}

function baseMissing(path: string, at: Reference, digest: Digest, found: Digest | undefined): BundleBaseMissing {
  return new BundleBaseMissing(`${path} is a delta, and ${at.registry} lacks an image of its base`, {
    subject: formatReference(at),
    faultIn: path,
    expected: `${formatReference(at)} at the target, as ${digest}`,
    found: found ?? 'no such image',
    hint: 'Push the bundle that it was made from (--since) first, or push a whole bundle.',
  });
}

function tagTaken(at: Reference, digest: Digest, found: Digest): PushTagTaken {
  return new PushTagTaken(`${formatReference(at)} is another image there`, {
    subject: formatReference(at),
    expected: digest,
    found,
    hint: 'Check which of the two is right; --force replaces the tag.',
  });
}
