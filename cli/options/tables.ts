import { Option } from 'commander';
import {
  action,
  choice,
  count,
  type Declared,
  duration,
  file,
  formerFile,
  hostsOrAll,
  negated,
  parsed,
  several,
  severalHosts,
  severalOrAll,
  size,
  text,
  toggle,
  type ValuesOf,
} from './declare.ts';
import { codings, path, reportFile } from './environment.ts';

// The options of most commands: flag, help, range and default. Commands with options of their own kind have their table next to
// them (serve/options.ts, coverage/options.ts, or command.ts). The variable follows from the flag; the types of the commands,
// --help and docs/options.md follow from the tables.

const FORMAT = choice('--format <kind>', 'format of the output on stdout', ['text', 'json'], 'text');
const MANIFEST = file('--manifest <file>', 'the manifest', 'manifest.json');
/** --out was the name of --tree. */
const OUT = formerFile('--out <dir>', 'tree');
const PROGRESS = choice(
  '--progress <kind>',
  'auto: a live display in a terminal, otherwise plain lines',
  ['auto', 'plain'],
  'auto',
);
export const LOCK = file(
  '--lock <file>',
  'the lockfile (default: next to the manifest, manifest.lock.json for manifest.json)',
);
const REHASH = toggle('--rehash', 'hash every published file, even unchanged ones');
const CACHE_DIR = file('--cache-dir <dir>', 'folder of the cache');
const MOST_MEBIBYTES = 1_048_576;
/** Those of `serve`, with which they share the variable, and `debug`. */
const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;

const FROM = file(
  '--from <bundle>',
  'read manifest and images from this bundle, without a network: a tar, its first part or .sha256 file, or a folder',
);
// No variable: PLUGIN_MIRROR_FROM is set for sync, and would hide the tree.
export const BUNDLE: Declared<string | undefined> = {
  option: new Option(
    '--bundle <bundle>',
    'use the plugins of this bundle: a tar, its first part or .sha256 file, or a folder',
  ).argParser(path),
};
const REPORT = parsed<string | undefined>(
  '--report <file>',
  'also write a report for CI, in the format of the extension: .md Markdown, .xml JUnit, .json code quality of GitLab',
  reportFile,
  undefined,
);
const QUIET = toggle('--quiet', 'print only problems');

/** The options of every command that connects to a registry. */
export const REGISTRY_OPTIONS = {
  registry: text(
    '--registry <host[/prefix]>',
    'take every image from this registry instead of those that the manifest names',
  ),
  engine: choice(
    '--engine <name>',
    'registry client: the built-in one, or the ORAS CLI',
    ['builtin', 'oras'],
    'builtin',
  ),
  concurrency: count('--concurrency <n>', 'concurrent downloads of blobs', [1, 64], 8),
  plainHttp: hostsOrAll(
    '--plain-http [host...]',
    'use HTTP instead of HTTPS for these hosts, or for all; loopback hosts need no option',
  ),
  insecure: hostsOrAll(
    '--insecure [host...]',
    'accept any TLS certificate of these hosts, or of all; anyone on the network path can then impersonate them',
  ),
  allowHost: severalHosts(
    '--allow-host <host...>',
    'token servers and storage hosts with private addresses to which a public registry may refer',
  ),
  caFile: file('--ca-file <file>', 'PEM file with additional certificate authorities'),
  certFile: file('--cert-file <file>', 'PEM file with a client certificate'),
  keyFile: file('--key-file <file>', "PEM file with the client certificate's key"),
  certsDir: file(
    '--certs-dir <dir>',
    "docker's folder of certificates, HOST:PORT/{*.crt,*.cert,*.key} (default: /etc/docker/certs.d)",
  ),
  registryConfig: file(
    '--registry-config <file>',
    "docker's config.json or podman's auth.json (default: their usual paths)",
  ),
  username: text(
    '--username <name>',
    "user name for the host of --registry, or else for the manifest's registry; needs --password-stdin or PLUGIN_MIRROR_PASSWORD",
  ),
  passwordStdin: action('--password-stdin', 'read the password from standard input'),
  platform: text('--platform <os/arch>', 'platform to choose from a multi-platform image; plugins rarely need it'),
  timeout: duration(
    '--timeout',
    'close a connection that receives nothing for this long; a blob that receives less than 1 KiB in this time is requested once more',
    [0.1, 3600],
    30,
  ),
  retries: count(
    '--retries <n>',
    'retries of a failed request; for a blob, the count restarts after each 64 KiB or 1% of it',
    [0, 100],
    5,
  ),
  logLevel: choice('--log-level <level>', 'debug adds a line per request on stderr', LOG_LEVELS, 'info'),
  cacheDir: file('--cache-dir <dir>', 'folder that caches blobs and partial downloads'),
  cacheSize: count('--cache-size <MiB>', 'size limit of the cache; 0 turns it off', [0, MOST_MEBIBYTES], 2048),
} as const;

export type RegistryFlags = ValuesOf<typeof REGISTRY_OPTIONS>;

export const SYNC_OPTIONS = {
  manifest: MANIFEST,
  from: FROM,
  tree: file('--tree <dir>', 'the tree to publish into', 'plugins'),
  out: OUT,
  only: several('--only <glob...>', 'mirror only plugins whose NAME or NAME/VERSION matches; !GLOB excludes'),
  frozen: toggle('--frozen', 'mirror exactly the images of manifest.lock.json, or fail (the default if CI is set)'),
  noFrozen: toggle('--no-frozen', 'resolve tags even if CI is set'),
  update: severalOrAll(
    '--update [names...]',
    'take the images to which the tags of these plugins, or of all, lead now',
  ),
  // --no-lock turns the same option off.
  lock: LOCK as Declared<string | false | undefined>,
  noLock: negated('--no-lock', 'neither read nor write a lockfile'),
  prune: toggle('--prune', 'remove versions that the manifest does not name; with --only, only those that match'),
  rehash: REHASH,
  compress: parsed(
    '--compress <codings>',
    'also publish plugin.wasm compressed: gzip, br, zstd (Node.js 22.15 or newer), separated by commas; other forms are removed',
    codings,
    [],
    'off',
  ),
  dryRun: toggle('--dry-run', 'print what would be done and how much would be downloaded; change nothing'),
  wait: duration('--wait', 'wait up to this long for another sync of the same tree', [0, 86_400], 0),
  report: REPORT,
  quiet: QUIET,
  deadline: duration('--deadline', 'stop the whole run after this long; finished plugins are kept', [0.1, 604_800]),
  ...REGISTRY_OPTIONS,
  progress: PROGRESS,
  format: FORMAT,
} as const;

export const CHECK_OPTIONS = {
  manifest: MANIFEST,
  from: FROM,
  lock: LOCK,
  tree: file('--tree <dir>', 'the tree to check', 'plugins'),
  out: OUT,
  lockOnly: toggle('--lock-only', 'compare only manifest, lockfile and registry, on a machine without the tree'),
  rehash: REHASH,
  report: REPORT,
  quiet: QUIET,
  ...REGISTRY_OPTIONS,
  format: FORMAT,
} as const;

export const BUNDLE_OPTIONS = {
  manifest: MANIFEST,
  lock: LOCK,
  // No variable: the one of --out is the tree of other commands.
  out: {
    option: new Option(
      '--out <path>',
      'path of the bundle (required): a name that ends in .tar, any other name for a folder, or - for stdout',
    ).argParser(path),
  } as Declared<string | undefined>,
  only: several('--only <glob...>', 'pack only plugins whose NAME or NAME/VERSION matches; !GLOB excludes'),
  since: file(
    '--since <file>',
    'leave out images that the receiver already has, according to its last bundle or the manifest.lock.json of that bundle',
  ),
  withProgram: action(
    '--with-program',
    'also write an archive of plugin-mirror itself next to the bundle; it needs only Node.js',
  ),
  printCommands: action('--print-commands', 'print the commands with which ORAS, docker and others read the bundle'),
  split: size(
    '--split <size>',
    'split the bundle into parts of at most this size, such as 2G or 650M: FILE.001, FILE.002 …',
  ),
  referrers: negated('--no-referrers', 'leave out signatures, SBOMs and other artifacts that refer to the images'),
  ...REGISTRY_OPTIONS,
  progress: PROGRESS,
  format: FORMAT,
} as const;

export const BUNDLE_DIFF_OPTIONS = {
  exitCode: action('--exit-code', 'exit with 3 if the bundles differ'),
  format: FORMAT,
} as const;

export const PUSH_OPTIONS = {
  manifest: MANIFEST,
  lock: LOCK,
  from: FROM,
  only: several('--only <glob...>', 'push only plugins whose NAME or NAME/VERSION matches; !GLOB excludes'),
  dryRun: action('--dry-run', 'print what would be pushed; change nothing'),
  force: action('--force', 'replace tags that lead to other images'),
  referrers: negated('--no-referrers', 'leave out signatures, SBOMs and other artifacts that refer to the images'),
  ...REGISTRY_OPTIONS,
  progress: PROGRESS,
  format: FORMAT,
} as const;

export const OUTDATED_OPTIONS = {
  manifest: MANIFEST,
  lock: LOCK,
  tree: file('--tree <dir>', 'the tree with the current versions', 'plugins'),
  out: OUT,
  pre: action('--pre', 'also count pre-releases as newer versions'),
  all: action('--all', 'also list plugins that are up to date'),
  exitCode: action('--exit-code', 'exit with 3 if there is a newer version'),
  write: action('--write', 'add the newer versions to the manifest; older versions stay in it'),
  report: REPORT,
  quiet: QUIET,
  ...REGISTRY_OPTIONS,
  format: FORMAT,
} as const;

export const DOCTOR_OPTIONS = { manifest: MANIFEST, ...REGISTRY_OPTIONS, format: FORMAT } as const;

export const VERIFY_OPTIONS = {
  tree: file('--tree <dir>', 'the tree to verify', 'plugins'),
  lock: file('--lock <file>', 'also compare the tree, or the bundle, with this manifest.lock.json'),
  format: FORMAT,
} as const;

export const IMPORT_OPTIONS = {
  write: action('--write', 'write the manifest to a file instead of stdout'),
  manifest: file('--manifest <file>', 'the file that --write writes', 'manifest.json'),
  force: action('--force', 'replace an existing manifest'),
} as const;

export const CACHE_LS_OPTIONS = { cacheDir: CACHE_DIR } as const;

export const CACHE_CLEAN_OPTIONS = {
  cacheDir: CACHE_DIR,
  keep: count('--keep <MiB>', 'keep the most recently used entries up to this size', [0, MOST_MEBIBYTES], 0),
} as const;

export type PushFlags = ValuesOf<typeof PUSH_OPTIONS>;
export type BundleFlags = ValuesOf<typeof BUNDLE_OPTIONS>;
export type BundleDiffFlags = ValuesOf<typeof BUNDLE_DIFF_OPTIONS>;
export type SyncFlags = ValuesOf<typeof SYNC_OPTIONS>;
export type CheckFlags = ValuesOf<typeof CHECK_OPTIONS>;
export type OutdatedFlags = ValuesOf<typeof OUTDATED_OPTIONS>;
export type DoctorFlags = ValuesOf<typeof DOCTOR_OPTIONS>;
export type VerifyFlags = ValuesOf<typeof VERIFY_OPTIONS>;
export type ImportFlags = ValuesOf<typeof IMPORT_OPTIONS>;
export type CacheFlags = ValuesOf<typeof CACHE_LS_OPTIONS> & Partial<ValuesOf<typeof CACHE_CLEAN_OPTIONS>>;
