import { realpath } from 'node:fs/promises';
import process from 'node:process';
import { setImmediate as eventLoopTurn } from 'node:timers/promises';
import { MODULE_FILE } from '../../../tree/names.ts';
import { hashFile, openRegular } from '../../../tree/regularFile.ts';
import type { Content } from '../../content/content.ts';
import type { HigressRequests } from '../../higressRequests.ts';
import { readTarget } from '../../http/requestTarget.ts';
import type { Gauges } from '../../observe/status.ts';
import type { MissingPath, SlowDownload, Troubles } from '../../observe/troubles.ts';
import type { ServedFile, TreeView } from '../../view/treeView.ts';
import { type DamagedFile, damagedFiles } from '../site/damage.ts';
import type { Language } from '../site/words.ts';
import { explainMissing, type MissingReason } from './explainMissing.ts';

const MOST_MISSING = 100;
const MOST_DAMAGED = 200;
/** That of 5000 versions has about 5 MB. */
const MOST_LOCKFILE_BYTES = 64 * 1024 * 1024;

/** The content of /status, and the format of /status.json. Times are in ISO 8601. */
export interface StatusReport {
  readonly schemaVersion: 1;
  /** Null if the server takes new clients, else why /readyz answers 503. */
  readonly notReady: string | null;
  readonly server: {
    readonly version: string;
    readonly node: string;
    readonly startedAt: string;
    readonly uptimeSeconds: number;
    readonly memoryBytes: number;
  };
  readonly tree: {
    readonly digest: string;
    /** sha256 of index.json. */
    readonly indexSha256: string | null;
    readonly plugins: number;
    readonly versions: number;
    readonly sizeBytes: number;
    readonly loadedAt: string;
    /** When index.json last changed. */
    readonly changedAt: string | null;
  } | null;
  /** The lockfile of --lock; null without the option. */
  readonly lockfile: {
    readonly path: string;
    /** `sha256:…` of the file as it is now; null if it cannot be read. */
    readonly digest: string | null;
  } | null;
  readonly load: Gauges;
  readonly missing: readonly MissingEntry[];
  /** 404 answers in all, those of paths that are not listed included. */
  readonly missingAnswers: number;
  readonly damaged: readonly DamagedFile[];
  readonly slow: readonly SlowEntry[];
  readonly downloads: readonly VersionDownloads[];
  /** Secrets are not part of it. */
  readonly options: Readonly<Record<string, unknown>>;
}

export interface MissingEntry extends Omit<MissingPath, 'lastAtMs'> {
  readonly lastAt: string;
  /** Null while no tree is loaded. */
  readonly reason: MissingReason | null;
}

interface SlowEntry extends Omit<SlowDownload, 'atMs'> {
  readonly at: string;
}

export interface VersionDownloads {
  readonly plugin: string;
  readonly version: string;
  /** Answers by status, of all forms and paths of plugin.wasm. */
  readonly answers: Readonly<Record<string, number>>;
  readonly sentBytes: number;
}

export interface StatusSources {
  readonly programVersion: string;
  readonly basePath: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly lockFile: string | undefined;
  readonly notReady: (language?: Language) => string | undefined;
  readonly view: () => TreeView | undefined;
  readonly gauges: () => Gauges;
  readonly contents: () => Iterable<Content>;
  readonly troubles: Troubles;
}

export async function makeStatusReport(
  sources: StatusSources,
  higress: HigressRequests | undefined,
): Promise<StatusReport> {
  const { troubles } = sources;
  const view = sources.view();
  const missing: MissingEntry[] = [];
  for (const { lastAtMs, ...entry } of troubles.missing.slice(0, MOST_MISSING)) {
    const path = pathBelow(entry.path, sources.basePath);
    const reason = view === undefined ? null : explainMissing(view, path, higress);
    missing.push({ ...entry, lastAt: isoTime(lastAtMs), reason });
    // Each name is compared with those of all plugins, and downloads must not wait for a hundred of them.
    await eventLoopTurn();
  }
  const downloads = view === undefined ? [] : downloadsOf(view);
  await eventLoopTurn();
  const damaged = damagedFiles(sources.contents()).slice(0, MOST_DAMAGED);
  await eventLoopTurn();
  const uptimeSeconds = Math.round(process.uptime());
  return {
    schemaVersion: 1,
    notReady: sources.notReady() ?? null,
    server: {
      version: sources.programVersion,
      node: process.version,
      startedAt: isoTime(Date.now() - uptimeSeconds * 1000),
      uptimeSeconds,
      memoryBytes: process.memoryUsage.rss(),
    },
    tree: view === undefined ? null : treeOf(view),
    lockfile: sources.lockFile === undefined ? null : await lockfileOf(sources.lockFile),
    load: sources.gauges(),
    missing,
    missingAnswers: troubles.missingAnswers,
    damaged,
    slow: troubles.slow.map(({ atMs, ...entry }) => ({ ...entry, at: isoTime(atMs) })),
    downloads,
    options: sources.options,
  };
}

function treeOf(view: TreeView): NonNullable<StatusReport['tree']> {
  const { catalog, versions, sizeBytes, loadedAtMs, files } = view;
  const index = files.get('/plugins/index.json');
  return {
    digest: catalog.tree,
    indexSha256: index?.sha256 ?? null,
    plugins: catalog.plugins.length,
    versions,
    sizeBytes,
    loadedAt: isoTime(loadedAtMs),
    changedAt: index === undefined ? null : isoTime(index.changedAtMs),
  };
}

/** The file may be replaced while the server runs, as the tree may. In a Kubernetes volume it is a link. */
async function lockfileOf(path: string): Promise<StatusReport['lockfile']> {
  const digest = await digestOf(path).catch(() => null);
  return { path, digest };
}

async function digestOf(path: string): Promise<string | null> {
  const file = await openRegular(await realpath(path));
  if (typeof file !== 'object') return null;
  try {
    const { size } = await file.stat();
    return size > MOST_LOCKFILE_BYTES ? null : `sha256:${(await hashFile(file, size)).sha256}`;
  } finally {
    await file.close();
  }
}

/** Returns the path as the pages see it: decoded, without the base path. */
function pathBelow(path: string, basePath: string): string {
  const decoded = readTarget(path)?.path ?? path;
  if (basePath === '') return decoded;
  return decoded.startsWith(`${basePath}/`) ? decoded.slice(basePath.length) : '/-';
}

function downloadsOf({ files }: TreeView): VersionDownloads[] {
  const versions = new Map<
    string,
    { plugin: string; version: string; answers: Record<string, number>; sentBytes: number }
  >();
  const add = ({ plugin, version, name, answers, sentBytes }: ServedFile): void => {
    if (plugin === undefined || version === undefined || name !== MODULE_FILE || answers === undefined) return;
    const key = `${plugin} ${version}`;
    const entry = versions.get(key) ?? { plugin, version, answers: {}, sentBytes: 0 };
    versions.set(key, entry);
    entry.sentBytes += sentBytes;
    for (const [status, count] of answers) entry.answers[status] = (entry.answers[status] ?? 0) + count;
  };
  for (const file of files.values()) for (const form of [file, ...file.variants]) add(form);
  const total = ({ answers }: VersionDownloads) => Object.values(answers).reduce((sum, count) => sum + count, 0);
  return [...versions.values()]
    .map(entry => ({ entry, total: total(entry) }))
    .sort((one, other) => other.total - one.total || (one.entry.plugin < other.entry.plugin ? -1 : 1))
    .map(({ entry }) => entry);
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
