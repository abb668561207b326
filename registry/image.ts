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
  /** The content itself in base64, where the pusher embedded it; it is verified like any other. */
  readonly data?: string;
}

/** OCI image-spec, image-index.md, `platform`. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** `os/architecture[/variant]`, as it stands in metadata.json and in locks. */
export function platformText({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter(part => part !== undefined).join('/');
}

const SYNONYMS: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  'x86-64': 'amd64',
  aarch64: 'arm64',
  armhf: 'arm',
};

/** The name that Go and OCI give an architecture: `x86_64` is `amd64`. */
export function architectureOf(name: string): string {
  return SYNONYMS[name] ?? name;
}

/** Reads `os/architecture[/variant]`. @throws RegistryOptionsInvalid */
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

/** An image as it was found behind a reference, every byte of it hashed. */
export interface Image {
  /** What the reference resolves to: the index's digest where there is one, else the manifest's. Pins and locks use it. */
  readonly digest: Digest;
  /** The digest of `manifest` itself; equal to `digest` unless an index stands before it. */
  readonly manifestDigest: Digest;
  readonly manifest: ImageManifest;
  /** The index entry's platform, if an index was followed. */
  readonly platform?: Platform;
}
