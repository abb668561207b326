import {
  type Check,
  either,
  exactObject,
  fitting,
  only,
  optional,
  record,
  sha256,
  size,
  text,
} from '../../base/shape.ts';

/** What lockSchema and those who read and write locks without it have in common. */

export const lockVersion = 1;

/** The image annotations worth reviewing beside a digest (OCI image-spec, annotations.md), in this order. */
export const lockedAnnotationKeys = [
  'org.opencontainers.image.created',
  'org.opencontainers.image.revision',
  'org.opencontainers.image.source',
  'org.opencontainers.image.version',
] as const;

/** `sha256:` and 64 lower-case hex digits, or `sha512:` and 128. */
export const lockedDigest = /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** What stands in a lock as writeLock writes it. */
export interface WrittenLock {
  readonly lockVersion: typeof lockVersion;
  readonly plugins: Readonly<Record<string, Readonly<Record<string, WrittenImage | WrittenFile>>>>;
}

interface WrittenImage {
  readonly reference: string;
  readonly digest: string;
  readonly platform?: string;
  readonly layer: { readonly digest: string; readonly mediaType: string; readonly sizeBytes: number };
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly signature?: { readonly policy: string; readonly signer: string; readonly digest: string };
  readonly annotations?: Readonly<Partial<Record<(typeof lockedAnnotationKeys)[number], string>>>;
}

interface WrittenFile {
  readonly file: string;
  readonly sha256: string;
  readonly sizeBytes: number;
}

const digest = fitting(lockedDigest, 'a digest');

const image = exactObject({
  reference: text,
  digest,
  platform: optional(text),
  layer: exactObject({ digest, mediaType: text, sizeBytes: size }),
  sha256,
  sizeBytes: size,
  signature: optional(exactObject({ policy: sha256, signer: text, digest })),
  annotations: optional(exactObject(Object.fromEntries(lockedAnnotationKeys.map(key => [key, optional(text)])))),
});

const file = exactObject({ file: text, sha256, sizeBytes: size });

const lock: Check = exactObject({
  $schema: optional(text),
  lockVersion: only(lockVersion),
  plugins: record(record(either(image, file))),
});

/**
 * True of what lockSchema takes, without the library's code, which a run that finds all in order shall not wait for. What is
 * wrong with the others, the schema says.
 */
export function isWrittenLock(value: unknown): value is WrittenLock {
  return lock(value) === undefined;
}
