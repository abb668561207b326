import { RegistryOptionsInvalid } from './errors.ts';
import { type Digest, withoutLogin } from './reference.ts';

/** OCI image-spec, descriptor.md. `size` is in bytes, as the spec names it. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: Platform;
  readonly artifactType?: string;
  /** The content in base64, where the pusher embedded it; it is verified like a downloaded one. */
  readonly data?: string;
}

/** OCI image-spec, image-index.md, `platform`. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** Returns `os/architecture[/variant]`, as metadata.json and the lockfile have it. */
export function platformText({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter(part => part !== undefined).join('/');
}

const SYNONYMS: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  'x86-64': 'amd64',
  aarch64: 'arm64',
  armhf: 'arm',
};

/** Returns the OCI name of an architecture (GOARCH): `amd64` for `x86_64`. */
export function architectureOf(name: string): string {
  return SYNONYMS[name] ?? name;
}

// The variant of a platform without one (a convention of containerd and Docker).
const DEFAULT_VARIANT: Readonly<Record<string, string>> = { arm: 'v7', arm64: 'v8', amd64: 'v1' };

/** Returns the variant of a platform; the usual one of its architecture, or an empty text, if it names none. */
export function variantOf({ architecture, variant }: Platform): string {
  return variant || DEFAULT_VARIANT[architectureOf(architecture)] || '';
}

/**
 * True if an image for `has`, a text of platformText, is one for the platform that the user asked for: of any variant, unless
 * `asked` names one. @throws RegistryOptionsInvalid if `asked` is no platform
 */
export function isForPlatform(has: string, asked: string): boolean {
  const wanted = parsePlatform(asked);
  const [os, architecture = '', variant = ''] = has.split('/');
  if (os !== wanted.os || architectureOf(architecture) !== wanted.architecture) return false;
  return wanted.variant === undefined || variantOf({ os, architecture, variant }) === wanted.variant;
}

/** Parses `os/architecture[/variant]`. @throws RegistryOptionsInvalid */
export function parsePlatform(text: string): Platform {
  const [os = '', architecture = '', variant, ...more] = text.toLowerCase().split('/');
  const parts = variant === undefined ? [os, architecture] : [os, architecture, variant];
  if (more.length > 0 || parts.some(part => !/^[a-z0-9][a-z0-9._-]*$/.test(part)))
    throw new RegistryOptionsInvalid(`"${withoutLogin(text)}" is not a platform`, {
      subject: withoutLogin(text),
      expected: 'os/architecture or os/architecture/variant',
      found: withoutLogin(text),
      hint: 'Write it as linux/amd64 or linux/arm64/v8, or leave it out: plugins run on every platform.',
    });
  return { os, architecture: architectureOf(architecture), ...(variant === undefined ? {} : { variant }) };
}

/** OCI image-spec, manifest.md; Docker's schema 2 manifest has the same members. */
export interface ImageManifest {
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The image of a reference. All its manifests are verified. */
export interface Image {
  /** The digest of the index if there is one, otherwise of the manifest. Pins and the lockfile use it. */
  readonly digest: Digest;
  /** The digest of `manifest`; equal to `digest` unless there is an index. */
  readonly manifestDigest: Digest;
  readonly manifest: ImageManifest;
  /** The index entry's platform, if an index was followed. */
  readonly platform?: Platform;
}
