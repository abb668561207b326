import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { readdir, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createGzip } from 'node:zlib';
import { compareText } from '../../base/canonicalJson.ts';
import { PACKAGE_ROOT } from '../../base/packageRoot.ts';
import { guarded, type WrittenFile } from '../../layout/partWriter.ts';
import { END_OF_TAR, fileHeader, paddingOf } from '../../layout/tarWriter.ts';

/** An archive of this program, written under a temporary name. */
export interface ProgramArchive {
  readonly file: WrittenFile;
  /** Gives it its name. @param hasSums false: no checksum file names it, so it gets one of its own */
  publish(hasSums: boolean): Promise<void>;
  /** Removes it, if it has no name yet. */
  abandon(): Promise<void>;
}

/** The folder in the archive that holds everything. */
const FOLDER = 'plugin-mirror';
/** The start file, below FOLDER. */
export const START_FILE = 'dist/cli/main.js';
/** Files that only development needs. */
const NOT_NEEDED = /\.(?:map|d\.[cm]?ts)$/;

/**
 * Writes `plugin-mirror-VERSION.tar.gz` into a folder: this program with the production modules that it uses. Node.js is all
 * that it needs. Two runs write the same bytes.
 * @throws LayoutNotWritable
 */
export async function writeProgramArchive(
  folder: string,
  version: string,
  signal: AbortSignal,
): Promise<ProgramArchive> {
  const path = join(folder, `plugin-mirror-${version}.tar.gz`);
  const temporary = `${path}.tmp`;
  const files = await programFiles(fileURLToPath(PACKAGE_ROOT));
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const gzip = createGzip({ level: 9 });
  gzip.on('data', (chunk: Buffer) => {
    hash.update(chunk);
    sizeBytes += chunk.length;
  });
  const abandon = () => rm(temporary, { force: true });
  try {
    await guarded(path, () =>
      pipeline(Readable.from(tarOf(files)), gzip, createWriteStream(temporary, { mode: 0o644, flush: true }), {
        signal,
      }),
    );
  } catch (error) {
    await abandon();
    throw error;
  }
  const sha256 = hash.digest('hex');
  return {
    file: { path, sizeBytes, sha256 },
    async publish(hasSums) {
      if (!hasSums) await guarded(path, () => writeFile(`${path}.sha256`, `${sha256}  ${basename(path)}\n`));
      await guarded(path, () => rename(temporary, path));
    },
    abandon,
  };
}

/** The path in the archive → the path on this machine. */
type Files = ReadonlyMap<string, string>;

async function* tarOf(files: Files): AsyncGenerator<Buffer> {
  for (const [name, path] of [...files].sort(([one], [other]) => compareText(one, other))) {
    const bytes = await readFile(path);
    yield fileHeader(`${FOLDER}/${name}`, bytes.length, name === START_FILE ? 0o755 : 0o644);
    yield bytes;
    yield Buffer.alloc(paddingOf(bytes.length));
  }
  yield END_OF_TAR;
}

interface Package {
  readonly files?: readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

async function programFiles(root: string): Promise<Files> {
  const files = new Map<string, string>();
  const { files: published = [], dependencies = {} } = await readPackage(root);
  const left = published.filter(name => name.startsWith('!')).map(name => name.slice(1));
  for (const name of ['package.json', 'LICENSE', 'README.md', ...published.filter(it => !it.startsWith('!'))])
    for (const path of await filesBelow(join(root, name))) {
      const inPackage = relative(root, path);
      if (!left.some(it => inPackage === it || inPackage.startsWith(`${it}/`))) files.set(inPackage, path);
    }
  for (const [target, folder] of await placeModules(root, Object.keys(dependencies)))
    for (const path of await filesBelow(folder)) files.set(`${target}/${relative(folder, path)}`, path);
  return files;
}

/**
 * Places every production module where Node.js finds it (its documentation, Modules, Loading from node_modules folders): at the
 * top, or below the module that needs it if the top has another version.
 * @returns the folder in the archive → the folder on this machine
 */
async function placeModules(root: string, names: readonly string[]): Promise<Files> {
  const placed = new Map<string, string>();
  const queue = [{ target: '', folder: root, names }];
  for (const { target, folder, names: needed } of queue)
    for (const name of needed) {
      const found = await findModule(name, folder);
      if (found === undefined) continue; // an optional module of another platform
      const visible = foldersAbove(target).find(each => placed.has(`${each}node_modules/${name}`));
      const has = visible === undefined ? undefined : placed.get(`${visible}node_modules/${name}`);
      if (has === found) continue;
      const place = `${has === undefined || target === '' ? '' : `${target}/`}node_modules/${name}`;
      placed.set(place, found);
      const { dependencies = {}, optionalDependencies = {} } = await readPackage(found);
      queue.push({ target: place, folder: found, names: Object.keys({ ...dependencies, ...optionalDependencies }) });
    }
  return placed;
}

/** `a/node_modules/b` → `a/node_modules/b/`, `a/`, the root. */
function foldersAbove(target: string): string[] {
  const modules = target === '' ? [] : target.split(/\/?node_modules\//).slice(1);
  const below = modules.map(
    (_, at) =>
      `${modules
        .slice(0, at + 1)
        .map(name => `node_modules/${name}`)
        .join('/')}/`,
  );
  return [...below.reverse(), ''];
}

async function findModule(name: string, from: string): Promise<string | undefined> {
  for (let folder = from; ; folder = dirname(folder)) {
    const path = join(folder, 'node_modules', name);
    const found = await stat(join(path, 'package.json')).catch(() => undefined);
    if (found?.isFile() === true) return realpath(path);
    if (folder === dirname(folder)) return undefined;
  }
}

async function readPackage(folder: string): Promise<Package> {
  return JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Package;
}

/** All files at or below a path, without those of other modules. */
async function filesBelow(path: string): Promise<string[]> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined) return [];
  if (!info.isDirectory()) return NOT_NEEDED.test(path) ? [] : [path];
  const names = (await readdir(path)).filter(name => name !== 'node_modules');
  return (await Promise.all(names.map(name => filesBelow(join(path, name))))).flat();
}
