import { readdir } from 'node:fs/promises';
import pMap from 'p-map';
import { compareText } from '../base/canonicalJson.ts';
import { isAbsent } from '../base/errno.ts';
import { type Catalog, inventoryText, readCatalog, treeDigest } from './catalog.ts';
import { asReadRefusal, CatalogMissing, TreeUnreadable } from './errors.ts';
import {
  CATALOG_FILE,
  fileNameProblem,
  INVENTORY_FILE,
  isVolumeEntry,
  modulePath,
  nameProblem,
  OWN_FILES,
  versionProblem,
} from './names.ts';
import { isFileText, kindOf, readRegular } from './regularFile.ts';
import type { Stamps } from './stamps.ts';
import {
  checkFile,
  type FileProblem,
  type InspectionOptions,
  locateVersion,
  UNREADABLE,
} from './version/inspectVersion.ts';

export interface AuditOptions {
  readonly signal?: AbortSignal;
  /** How many files are read at the same time, with at most 1 MiB of memory each. Default 16. */
  readonly concurrency?: number;
  /** Hash every byte. Default true; false trusts `stamps`. */
  readonly rehash?: boolean;
  readonly stamps?: Stamps;
  /** Called after each file. */
  readonly onChecked?: (done: number, files: number) => void;
}

export interface AuditFinding {
  /** Relative to the tree. */
  readonly path: string;
  /** Name and version, if the path belongs to a version. */
  readonly name?: string;
  readonly version?: string;
  /** A predicate about the path: "is missing". */
  readonly problem: string;
  /** True if sync did not publish what is there: sync leaves it alone, and the user has to move it away. */
  readonly foreign?: boolean;
  /** True if this user may not read it. */
  readonly unreadable?: boolean;
}

export interface TreeAudit {
  /** The tree digest in index.json, `sha256:…`. */
  readonly tree: string;
  readonly versions: number;
  readonly files: number;
  readonly sizeBytes: number;
  /** Present, but different from the catalog: other bytes, another size, a folder or a link instead of a file. */
  readonly damaged: readonly AuditFinding[];
  readonly missing: readonly AuditFinding[];
  /** Not in the catalog. Dot files (the writer lock, the staging folder) and the volume's own folders are skipped. */
  readonly unknown: readonly AuditFinding[];
  /** True if nothing is damaged or missing. Unknown files do not matter: no reader of the catalog sees them. */
  readonly sound: boolean;
}

/**
 * Compares a tree with its index.json, byte by byte. Writes nothing (a read-only mount is enough), uses no network, follows
 * no link. @throws CatalogMissing, CatalogInvalid, CatalogNewer, TreeUnreadable (index.json), TreeFault
 */
export async function auditTree(treeDir: string, options: AuditOptions = {}): Promise<TreeAudit> {
  const catalog = await readCatalog(treeDir);
  if (catalog === undefined)
    throw new CatalogMissing(`${treeDir} has no ${CATALOG_FILE}`, {
      subject: treeDir,
      expected: `a plugin tree with its ${CATALOG_FILE}`,
      found: `no ${CATALOG_FILE}`,
      hint: 'Name the folder that sync writes to (--tree), or run sync first.',
    });
  const findings = new Findings(treeDir);
  const expected = expectedFiles(catalog, findings);
  await auditRoot(treeDir, catalog, findings);
  await findUnknown(treeDir, expected, findings);
  const concurrency = options.concurrency ?? 16;
  const inspection: InspectionOptions = { ...options, rehash: options.rehash ?? true };
  // Large files first, so that none of them is left to be hashed alone at the end.
  const files = [...expected.values()].sort((a, b) => b.sizeBytes - a.sizeBytes);
  const located = await locateVersions(treeDir, files, findings);
  let done = 0;
  const audit = async (file: ExpectedFile): Promise<void> => {
    await auditFile(treeDir, file, inspection, findings);
    done += 1;
    options.onChecked?.(done, located.length);
  };
  await pMap(located, audit, { concurrency });
  return {
    tree: catalog.tree,
    versions: catalog.plugins.reduce((count, plugin) => count + plugin.versions.length, 0),
    files: files.length,
    sizeBytes: files.reduce((sum, file) => sum + file.sizeBytes, 0),
    ...findings.sorted(),
  };
}

interface ExpectedFile {
  readonly name: string;
  readonly version: string;
  readonly file: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

class Findings {
  readonly #treeDir: string;
  readonly #unreadable = new Set<string>();
  readonly damaged: AuditFinding[] = [];
  readonly missing: AuditFinding[] = [];
  readonly unknown: AuditFinding[] = [];

  constructor(treeDir: string) {
    this.#treeDir = treeDir;
  }

  /** Records a path that this user may not read, once for a folder and all below it. @throws TreeFault for other errors */
  unreadable(error: unknown, path: string): void {
    const refusal = asReadRefusal(error, `${this.#treeDir}/${path}`);
    if (!(refusal instanceof TreeUnreadable)) throw refusal;
    const [name = '', version] = path.split('/');
    if ([name, `${name}/${version}`, path].some(above => this.#unreadable.has(above))) return;
    this.#unreadable.add(path);
    const whose = nameProblem(name) === undefined ? { name, ...(version === undefined ? {} : { version }) } : {};
    this.damaged.push({ path: path === '' ? '.' : path, ...whose, problem: UNREADABLE, unreadable: true });
  }

  sorted(): Pick<TreeAudit, 'damaged' | 'missing' | 'unknown' | 'sound'> {
    const byPath = (a: AuditFinding, b: AuditFinding): number => compareText(a.path, b.path);
    return {
      damaged: this.damaged.sort(byPath),
      missing: this.missing.sort(byPath),
      unknown: this.unknown.sort(byPath),
      sound: this.damaged.length === 0 && this.missing.length === 0,
    };
  }
}

/** The files that the catalog lists, by path. An entry whose path would leave the tree is a finding and is never opened. */
function expectedFiles(catalog: Catalog, findings: Findings): Map<string, ExpectedFile> {
  const expected = new Map<string, ExpectedFile>();
  const index = (problem: string): void => void findings.damaged.push({ path: CATALOG_FILE, problem });
  if (treeDigest(catalog.plugins) !== catalog.tree) index('does not hash to the tree digest that it contains');
  for (const { name, versions } of catalog.plugins) {
    for (const { version, path, files } of versions) {
      const problem = nameProblem(name) ?? versionProblem(version);
      const unfit = files.find(file => !OWN_FILES.includes(file.name) && fileNameProblem(file.name) !== undefined);
      if (problem !== undefined || unfit !== undefined || path !== modulePath(name, version)) {
        index(`has an impossible entry: ${JSON.stringify([name, version, unfit?.name ?? path])}`);
        continue;
      }
      for (const { name: file, sizeBytes, sha256 } of files)
        expected.set(`${name}/${version}/${file}`, { name, version, file, sizeBytes, sha256 });
      for (const file of OWN_FILES)
        if (!expected.has(`${name}/${version}/${file}`)) index(`does not list ${name}/${version}/${file}`);
    }
  }
  return expected;
}

async function auditRoot(treeDir: string, catalog: Catalog, findings: Findings): Promise<void> {
  const text = inventoryText(catalog);
  const path = INVENTORY_FILE;
  const read = await readRegular(`${treeDir}/${path}`, text.length * 4).catch(error => {
    findings.unreadable(error, path);
    return null;
  });
  if (read === null) return;
  if (read === undefined) findings.missing.push({ path, problem: 'is missing' });
  else if (typeof read === 'string')
    findings.damaged.push({ path, problem: `is ${read}`, ...(isFileText(read) ? {} : { foreign: true }) });
  else if (read.bytes.toString('utf8') !== text)
    findings.damaged.push({ path, problem: `does not fit ${CATALOG_FILE}` });
}

/**
 * The quick part of an audit, which opens no file. Returns what is not in the catalog, and the folders that this user may not
 * read. @throws TreeFault
 */
export async function findUnknownFiles(
  treeDir: string,
  catalog: Catalog,
): Promise<{ readonly unknown: readonly AuditFinding[]; readonly unreadable: readonly AuditFinding[] }> {
  const findings = new Findings(treeDir);
  await findUnknown(treeDir, expectedFiles(catalog, new Findings(treeDir)), findings);
  const { unknown, damaged } = findings.sorted();
  return { unknown, unreadable: damaged };
}

/** An NFS client renames an open file to this when it is removed, until the file is closed. */
const NFS_LEFTOVER = /^\.nfs[0-9a-f]+$/;

/** Skips what belongs to the staging and to the file system: dot files next to the plugins' folders, lost+found. */
async function findUnknown(
  treeDir: string,
  expected: ReadonlyMap<string, ExpectedFile>,
  findings: Findings,
): Promise<void> {
  const known = new Set<string>([CATALOG_FILE, INVENTORY_FILE]);
  for (const { name, version, file } of expected.values())
    known.add(name).add(`${name}/${version}`).add(`${name}/${version}/${file}`);
  const walk = async (below: string): Promise<void> => {
    const entries = await readdir(`${treeDir}/${below}`, { withFileTypes: true }).catch(error => {
      if (!isAbsent(error)) findings.unreadable(error, below);
      return [];
    });
    for (const entry of entries) {
      if (below === '' ? entry.name.startsWith('.') : NFS_LEFTOVER.test(entry.name)) continue;
      if (isVolumeEntry(entry.name)) continue;
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      if (!known.has(path)) findings.unknown.push({ path, problem: `is ${kindOf(entry)} that is not in the catalog` });
      else if (entry.isDirectory() && !expected.has(path)) await walk(path);
    }
  };
  await walk('');
}

/** Returns the files whose folders are reached without a link; the other folders become findings. */
async function locateVersions(
  treeDir: string,
  files: readonly ExpectedFile[],
  findings: Findings,
): Promise<ExpectedFile[]> {
  const inTheWay = new Map<string, string | undefined>();
  for (const { name, version } of files) {
    const folder = `${name}/${version}`;
    if (inTheWay.has(folder)) continue;
    const location = await locateVersion(treeDir, name, version).catch((error: unknown) => {
      findings.unreadable(error, folder);
      return undefined;
    });
    if (location === undefined) {
      inTheWay.set(folder, folder);
      continue;
    }
    inTheWay.set(folder, location.state === 'foreign' ? location.path : undefined);
    if (location.state === 'foreign')
      findings.damaged.push({
        path: location.path,
        name,
        version,
        problem: `is ${location.kind}, not a folder`,
        foreign: true,
      });
  }
  return files.filter(({ name, version }) => inTheWay.get(`${name}/${version}`) === undefined);
}

async function auditFile(
  treeDir: string,
  { name, version, file, sizeBytes, sha256 }: ExpectedFile,
  options: InspectionOptions,
  findings: Findings,
): Promise<void> {
  options.signal?.throwIfAborted();
  const path = `${name}/${version}/${file}`;
  const problem: FileProblem | undefined = await checkFile(
    treeDir,
    path,
    { name: file, sizeBytes, sha256 },
    options,
  ).catch((error: unknown) => {
    findings.unreadable(error, path);
    return undefined;
  });
  if (problem === undefined) return;
  const { kind, text, foreign } = problem;
  findings[kind].push({ path, name, version, problem: text, ...(foreign ? { foreign } : {}) });
}
