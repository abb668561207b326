import { readdir } from 'node:fs/promises';
import pMap from 'p-map';
import { compareText } from '../base/canonicalJson.ts';
import { isAbsent } from '../base/errno.ts';
import { inventoryText, treeDigest } from './catalog/buildCatalog.ts';
import type { Catalog } from './catalog/catalog.ts';
import { readCatalog } from './catalog/readCatalog.ts';
import { asReadRefusal, CatalogMissing, TreeUnreadable } from './errors.ts';
import {
  CATALOG_FILE,
  fileNameProblem,
  INVENTORY_FILE,
  modulePath,
  nameProblem,
  OWN_FILES,
  versionProblem,
} from './names.ts';
import { isFileText, kindOf, readRegular } from './regularFile.ts';
import type { Stamps } from './stamps.ts';
import { checkFile, type FileProblem, type InspectionOptions } from './version/inspectVersion.ts';
import { locateVersion, UNREADABLE } from './version/readVersion.ts';

export interface AuditOptions {
  readonly signal?: AbortSignal;
  /** Files read side by side, at most 1 MiB of memory for each. Default 16: hashing goes on while others are opened. */
  readonly concurrency?: number;
  /** Hash every byte. Default true; false trusts `stamps`. */
  readonly rehash?: boolean;
  readonly stamps?: Stamps;
}

export interface AuditFinding {
  /** Below the tree. */
  readonly path: string;
  /** Whose it is, where it is a version's. */
  readonly name?: string;
  readonly version?: string;
  /** In words that follow the path: "is missing". */
  readonly problem: string;
  /** True where something stands that was not published from here, which sync leaves alone: move it away by hand. */
  readonly foreign?: boolean;
  /** True where this user may not look. */
  readonly unreadable?: boolean;
}

export interface TreeAudit {
  /** `sha256:…` of the catalog, as index.json says it. */
  readonly tree: string;
  readonly versions: number;
  readonly files: number;
  readonly sizeBytes: number;
  /** There, but not what the catalog says: other bytes, another size, a folder or a link in place of a file. */
  readonly damaged: readonly AuditFinding[];
  readonly missing: readonly AuditFinding[];
  /** Not in the catalog. Dot files (the lock, the staging) are not looked at. */
  readonly unknown: readonly AuditFinding[];
  /** Nothing damaged and nothing missing; unknown things harm no reader of the catalog. */
  readonly sound: boolean;
}

/**
 * Compares a tree with its index.json, byte by byte. Writes nothing (a read-only mount will do), sends nothing, follows no
 * link. @throws CatalogMissing, CatalogInvalid, CatalogNewer, TreeUnreadable (index.json), TreeFault
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
  // Large files first: the small ones then fill the gaps that they leave.
  const files = [...expected.values()].sort((a, b) => b.sizeBytes - a.sizeBytes);
  const located = await locateVersions(treeDir, files, findings);
  await pMap(located, file => auditFile(treeDir, file, inspection, findings), { concurrency });
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

  /** What may not be read is a finding, told once; the rest of the tree is looked at all the same. @throws TreeFault */
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

/** By path below the tree. A path that the catalog could lead out of the tree with is a finding and is never opened. */
function expectedFiles(catalog: Catalog, findings: Findings): Map<string, ExpectedFile> {
  const expected = new Map<string, ExpectedFile>();
  const index = (problem: string): void => void findings.damaged.push({ path: CATALOG_FILE, problem });
  if (treeDigest(catalog.plugins) !== catalog.tree) index('does not hash to the tree digest that it gives');
  for (const { name, versions } of catalog.plugins) {
    for (const { version, path, files } of versions) {
      const problem = nameProblem(name) ?? versionProblem(version);
      const unfit = files.find(file => !OWN_FILES.includes(file.name) && fileNameProblem(file.name) !== undefined);
      if (problem !== undefined || unfit !== undefined || path !== modulePath(name, version)) {
        index(`has an entry that cannot be: ${JSON.stringify([name, version, unfit?.name ?? path])}`);
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
 * The quick part of an audit, which opens no file: what the catalog does not know, and (`unreadable`) which folders could not
 * be looked into. @throws TreeFault
 */
export async function findStrangers(
  treeDir: string,
  catalog: Catalog,
): Promise<{ readonly unknown: readonly AuditFinding[]; readonly unreadable: readonly AuditFinding[] }> {
  const findings = new Findings(treeDir);
  await findUnknown(treeDir, expectedFiles(catalog, new Findings(treeDir)), findings);
  const { unknown, damaged } = findings.sorted();
  return { unknown, unreadable: damaged };
}

/** What an NFS client makes of a file that is removed while it is open, until it is closed. */
const NFS_LEFTOVER = /^\.nfs[0-9a-f]+$/;

/** Beside the plugins' folders, names with a dot in front are the staging's and the file system's own. */
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
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      if (!known.has(path))
        findings.unknown.push({ path, problem: `is ${kindOf(entry)} that the catalog does not know` });
      else if (entry.isDirectory() && !expected.has(path)) await walk(path);
    }
  };
  await walk('');
}

/** The files whose folders can be gone into without a link; what stands in the way of the others is a finding. */
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
