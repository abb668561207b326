import * as v from 'valibot';

/**
 * The schemas of what each command prints with `--format json`; docs/schemas/ is generated from them, and the tests hold every
 * output to them. That of coverage is in coverageSchema.ts.
 */

const text = (description: string) => v.pipe(v.string(), v.description(description));
const count = (description: string) => v.pipe(v.number(), v.integer(), v.minValue(0), v.description(description));
const flag = (description: string) => v.exactOptional(v.pipe(v.boolean(), v.description(description)));
const maybe = (description: string) => v.exactOptional(text(description));

const schemaVersion = v.pipe(v.literal(1), v.description('Rises when a reader of the former version would break.'));
const name = text('The plugin.');
const version = text('The version in the URL.');
const aliasOf = maybe('Of an alias: the version whose bytes it has.');
const digest = maybe('Digest of the image, or of a local file.');
const sizeBytes = v.exactOptional(count('Bytes of plugin.wasm.'));
const durationMs = v.pipe(v.number(), v.minValue(0), v.description('Milliseconds.'));

const error = v.strictObject({
  code: text('A code of docs/errors.md.'),
  message: text('What happened.'),
  hint: text('What to do.'),
  subject: maybe('The file, option, host or image that the error is about.'),
  expected: v.exactOptional(v.string()),
  found: v.exactOptional(v.string()),
  registrySaid: maybe("The registry's own words."),
  problems: v.exactOptional(v.array(v.unknown())),
});

const errors = v.exactOptional(v.pipe(v.array(error), v.description('Errors of the run as a whole.')));

const drift = v.pipe(
  v.array(
    v.strictObject({
      name,
      version,
      reference: text('The image, or the local file.'),
      lockedDigest: v.string(),
      foundDigest: v.string(),
      foundCreated: maybe('When the image behind the tag was made, RFC 3339.'),
      local: flag('True of a local file, which is taken as it is now.'),
      followed: flag('True of a tag that is not locked: it was followed.'),
    }),
  ),
  v.description('Tags that no longer lead to the locked digest, and local files that are no longer the locked ones.'),
);

const extra = {
  name,
  version,
  kept: v.exactOptional(v.picklist(['failed', 'unselected'])),
  damage: v.exactOptional(v.string()),
  unlisted: flag('True if it is so damaged that the catalog no longer lists it.'),
  leftover: flag('True of what an earlier pruning had to leave.'),
  leftPaths: v.exactOptional(v.array(v.string())),
};

const sync = v.strictObject({
  schemaVersion,
  tree: text("The tree's folder, absolute."),
  changed: v.pipe(v.boolean(), v.description('Whether a version or alias was published, replaced or removed.')),
  plugins: v.array(
    v.strictObject({
      name,
      version,
      status: v.picklist(['fetched', 'kept', 'aliased', 'failed']),
      reference: text('The image, or the local file.'),
      aliasOf,
      unchanged: flag('True of an alias that the tree had already.'),
      digest,
      previousDigest: maybe('The digest that was locked before, if this run replaced it.'),
      sha256: maybe('Of plugin.wasm.'),
      sizeBytes,
      warnings: v.exactOptional(v.array(v.string())),
      error: v.exactOptional(error),
    }),
  ),
  drift,
  extras: v.pipe(
    v.array(v.strictObject({ ...extra, removed: v.boolean() })),
    v.description('Versions in the tree that the manifest does not name.'),
  ),
  unverified: v.exactOptional(
    v.pipe(
      v.array(v.strictObject({ name, version })),
      v.description('Published versions that were not verified under their signature policy.'),
    ),
  ),
  errors,
  interrupted: flag('True if a signal or the deadline stopped the run.'),
  totals: v.strictObject({
    fetched: count('Versions.'),
    kept: count('Versions.'),
    aliased: count('Aliases.'),
    failed: count('Versions and aliases.'),
    bytesDownloaded: count('Bytes.'),
    requests: count('Sent to registries.'),
    durationMs,
  }),
});

const plan = v.strictObject({
  schemaVersion,
  dryRun: v.literal(true),
  plugins: v.array(
    v.strictObject({
      name,
      version,
      action: v.picklist(['fetch', 'keep', 'alias', 'fail']),
      aliasOf,
      digest,
      reason: maybe('Why it would be fetched, as a word.'),
      because: maybe('The same as a sentence.'),
      sizeBytes: v.exactOptional(count('Bytes to download.')),
      warnings: v.exactOptional(v.array(v.string())),
      error: v.exactOptional(error),
    }),
  ),
  drift,
  extras: v.array(v.strictObject({ ...extra, action: v.picklist(['remove', 'leave']) })),
  errors,
  totals: v.strictObject({
    fetch: count('Versions.'),
    keep: count('Versions and aliases.'),
    alias: count('Aliases.'),
    fail: count('Versions and aliases.'),
    bytesToDownload: count('Bytes.'),
  }),
});

const check = v.strictObject({
  schemaVersion,
  findings: v.array(
    v.strictObject({
      name: maybe('The plugin, of a finding about a version.'),
      version: v.exactOptional(v.string()),
      path: maybe('Below the tree, of any other file.'),
      kind: v.picklist([
        ...(['missing', 'damaged', 'stale', 'moved', 'unlocked'] as const),
        ...(['extra', 'gone', 'unreachable', 'untold', 'unknown'] as const),
      ]),
      detail: text('The finding as a sentence.'),
      expectedDigest: v.exactOptional(v.string()),
      foundDigest: v.exactOptional(v.string()),
      foreign: v.exactOptional(v.pipe(v.array(v.string()), v.description('Paths that sync leaves alone.'))),
      unreadable: flag('True if this user may not read it.'),
      governed: flag('True if the manifest has a signature policy for it.'),
      inBase: flag('True if a delta leaves the image to its base.'),
      error: v.exactOptional(error),
    }),
  ),
  errors,
  totals: v.strictObject({
    versions: count('Versions and aliases that were compared.'),
    findings: count('In all.'),
    requests: count('Sent to registries.'),
  }),
});

const unheard = v.exactOptional(
  v.pipe(
    v.array(v.strictObject({ registry: v.string(), error })),
    v.description('Hosts that did not answer: newer versions that only they have are not known.'),
  ),
);

const outdated = v.strictObject({
  schemaVersion,
  plugins: v.array(
    v.strictObject({
      name,
      repository: text('HOST/REPOSITORY.'),
      current: maybe('The highest version in the tree.'),
      wanted: maybe('The highest version in the manifest.'),
      locked: maybe('The highest version in the lockfile.'),
      latest: maybe('The highest version in the registry and its mirrors.'),
      outdated: v.pipe(v.boolean(), v.description('Whether latest is higher than everything in the manifest.')),
      behind: v.pipe(v.boolean(), v.description('Whether the tree or the lockfile is behind the manifest.')),
      error: v.exactOptional(error),
      unheard,
    }),
  ),
  unheard,
  higress: v.exactOptional(
    v.strictObject({
      release: text('The newest release of Higress that this version of plugin-mirror knows.'),
      plugins: count('That its Console requests.'),
      missing: v.pipe(v.array(v.strictObject({ name, version })), v.description('What the manifest lacks of them.')),
    }),
  ),
  written: v.exactOptional(
    v.pipe(
      v.array(v.strictObject({ name, version, was: v.string() })),
      v.description('What --write added to the manifest.'),
    ),
  ),
  left: v.exactOptional(
    v.pipe(
      v.array(v.strictObject({ name, tag: v.string(), reason: v.string() })),
      v.description('What --write could not add.'),
    ),
  ),
});

const file = v.strictObject({
  path: text('Relative to the tree.'),
  name: maybe('The plugin, if the path belongs to a version.'),
  version: v.exactOptional(v.string()),
  problem: text('A predicate about the path: "is missing".'),
  foreign: flag('True if sync did not publish what is there.'),
  unreadable: flag('True if this user may not read it.'),
});

const verify = v.strictObject({
  schemaVersion,
  tree: text('The tree digest, sha256:….'),
  versions: count('In the catalog.'),
  files: count('In the catalog.'),
  sizeBytes: count('Of all files.'),
  damaged: v.array(file),
  missing: v.array(file),
  unknown: v.array(file),
  disagreements: v.pipe(v.array(v.string()), v.description('Differences from the lockfile of --lock.')),
  sound: v.pipe(v.boolean(), v.description('Whether nothing was found.')),
});

const bundleFinding = v.strictObject({
  subject: text("A blob's digest, a part's file name, or NAME VERSION."),
  problem: v.string(),
  images: v.exactOptional(v.array(v.string())),
});

const verifyBundle = v.strictObject({
  schemaVersion,
  bundle: text('The path as it was written.'),
  versions: count('Of plugins; 0 for a layout that another tool wrote.'),
  blobs: count('In the bundle.'),
  sizeBytes: count('Of all blobs.'),
  inBase: count('Of a delta: versions whose blobs the receiver must have.'),
  checksums: v.picklist(['equal', 'absent', 'different']),
  damaged: v.array(bundleFinding),
  missing: v.array(bundleFinding),
  disagreements: v.pipe(v.array(v.string()), v.description('Differences from the lockfile of --lock.')),
  sound: v.pipe(v.boolean(), v.description('Whether nothing is damaged or missing.')),
});

const list = v.strictObject({
  schemaVersion,
  from: text('The tree, manifest or bundle.'),
  plugins: v.array(
    v.strictObject({
      name,
      version,
      aliases: v.array(v.string()),
      sizeBytes,
      sha256: maybe('Of plugin.wasm.'),
      from: maybe('The image or the local file.'),
      pinned: v.pipe(v.boolean(), v.description('Whether the manifest or the lockfile names its digest.')),
    }),
  ),
});

const writtenFile = v.strictObject({ path: v.string(), sizeBytes: count('Bytes.'), sha256: v.string() });

const bundle = v.strictObject({
  schemaVersion,
  out: text('The path of --out.'),
  files: v.array(writtenFile),
  images: v.exactOptional(count('Images in the bundle; absent if nothing was written.')),
  attachments: v.exactOptional(count('Signatures and other referrers.')),
  left: v.exactOptional(count('Versions that the base of a delta has.')),
  sizeBytes: v.exactOptional(count('Bytes of the bundle.')),
  program: v.exactOptional(writtenFile),
  commands: v.exactOptional(
    v.array(v.strictObject({ tool: v.string(), about: v.string(), commands: v.array(v.string()) })),
  ),
  failed: v.exactOptional(v.array(v.looseObject({ name, version, error: v.exactOptional(error) }))),
  errors,
  totals: v.strictObject({
    requests: count('Sent to registries.'),
    bytesDownloaded: count('Bytes.'),
    durationMs,
  }),
});

const diffRow = { name, version, aliasOf, from: maybe('The image or the local file.'), digest };

const bundleDiff = v.strictObject({
  schemaVersion,
  old: v.string(),
  new: v.string(),
  added: v.array(v.strictObject(diffRow)),
  changed: v.array(v.strictObject({ ...diffRow, oldDigest: v.exactOptional(v.string()) })),
  removed: v.array(v.strictObject(diffRow)),
  unchanged: count('Versions.'),
  blobs: v.exactOptional(v.strictObject({ count: count('Only in the newer bundle.'), sizeBytes: count('Theirs.') })),
  referrers: v.exactOptional(count('Only in the newer bundle.')),
  lacking: v.pipe(v.array(v.strictObject(diffRow)), v.description('Versions that are in neither of them.')),
});

const push = v.strictObject({
  schemaVersion,
  images: v.array(
    v.strictObject({
      name,
      version,
      status: v.string(),
      reference: text('Where it was pushed to: HOST/REPOSITORY:TAG.'),
      digest,
      error: v.exactOptional(error),
    }),
  ),
  totals: v.strictObject({
    pushed: count('Images.'),
    kept: count('Images that were there already.'),
    failed: count('Images.'),
    bytesUploaded: count('Bytes.'),
    requests: count('Sent to the registry.'),
    durationMs,
    uploadedBlobs: count('Blobs.'),
    mountedBlobs: count('Blobs that the registry took from another of its repositories.'),
  }),
});

const status = v.picklist(['ok', 'failed', 'skipped']);

const doctor = v.strictObject({
  schemaVersion,
  good: v.pipe(v.boolean(), v.description('Whether no step failed.')),
  engine: v.exactOptional(
    v.strictObject({ name: v.string(), status, found: v.string(), hint: v.exactOptional(v.string()) }),
  ),
  targets: v.array(
    v.strictObject({
      role: v.picklist(['registry', 'mirror']),
      registry: text('HOST[:PORT].'),
      reference: v.exactOptional(v.unknown()),
      steps: v.array(
        v.strictObject({
          step: v.picklist(['proxy', 'dns', 'tcp', 'tls', 'api', 'clock', 'token', 'manifest', 'blob']),
          status,
          found: v.string(),
          hint: v.exactOptional(v.string()),
          code: maybe('The code of the error that sync would report.'),
        }),
      ),
    }),
  ),
  hosts: v.pipe(
    v.array(
      v.strictObject({
        host: v.string(),
        port: v.number(),
        scheme: v.picklist(['http', 'https']),
        purposes: v.array(v.string()),
        through: maybe('HOST:PORT of the proxy.'),
        answered: v.boolean(),
        refused: flag('True of a proxy that refused to connect.'),
      }),
    ),
    v.description('The hosts that a firewall must allow.'),
  ),
});

const urls = v.strictObject({
  schemaVersion,
  console: v.pipe(v.record(v.string(), v.string()), v.description('Variables of Higress Console.')),
  controller: v.pipe(v.record(v.string(), v.string()), v.description('Variables of Higress Controller.')),
  plugins: v.array(
    v.strictObject({ name, version, aliasOf, url: v.string(), sha256: maybe('Of plugin.wasm.'), sizeBytes }),
  ),
});

const failure = v.pipe(
  v.strictObject({ schemaVersion, error }),
  v.description('What every command prints if it fails before it has a report.'),
);

/** File name without its ending → schema. */
export const outputSchemas = {
  ...{ sync, 'sync-dry-run': plan, check, outdated, verify, 'verify-bundle': verifyBundle, list },
  ...{ bundle, 'bundle-diff': bundleDiff, push, doctor, urls, failure },
} as const;

/** Returns the schema's name for a command line with `--format json`; undefined for coverage and for commands without one. */
export function outputOf(args: readonly string[]): keyof typeof outputSchemas | undefined {
  const [command = '', next = ''] = args;
  if (command === 'sync') return args.includes('--dry-run') || args.includes('-n') ? 'sync-dry-run' : 'sync';
  if (command === 'bundle' && next === 'diff') return 'bundle-diff';
  return Object.hasOwn(outputSchemas, command) ? (command as keyof typeof outputSchemas) : undefined;
}
