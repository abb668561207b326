import { readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { isAbsent } from '../../base/errno.ts';
import { parseCatalog } from '../../tree/catalog/readCatalog.ts';
import { asReadRefusal, CatalogInvalid, TreeUnreadable, TreeUnusable } from '../../tree/errors.ts';
import { CATALOG_FILE, INVENTORY_FILE } from '../../tree/names.ts';
import { isFileText, kindOf, readRegular } from '../../tree/regularFile.ts';
import type { ContentStore } from '../content/contentStore.ts';
import { type FileIdentity, identityOf, sameIdentity } from '../content/openFile.ts';
import type { ServerEvent } from '../events.ts';
import { buildTreeView, type TreeFiles, type TreeView, type ViewSettings } from './treeView.ts';

const MAX_CATALOG_BYTES = 256 * 1024 * 1024;
const MAX_INVENTORY_BYTES = 16 * 1024 * 1024;
const ATTEMPTS = 5;

type Missing = Extract<ServerEvent, { kind: 'tree-missing' }>;

export interface TreeFollowerSettings {
  readonly treeDir: string;
  readonly pollMs: number;
  readonly view: ViewSettings;
  readonly onEvent: (event: ServerEvent) => void;
}

/**
 * Keeps the view of the tree that index.json describes, and looks every `pollMs` whether another one lies there. It looks
 * at the file itself, for notifications do not arrive on every volume. What is served stays as it is until a new catalog
 * has been read as a whole; one that is missing or cannot be read changes nothing but what is reported.
 */
export class TreeFollower {
  readonly #settings: TreeFollowerSettings;
  readonly #store: ContentStore;
  #view: TreeView | undefined;
  #loaded: FileIdentity | undefined;
  #checking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reported: string | undefined;
  #stopped = false;
  #isGone = false;

  constructor(settings: TreeFollowerSettings, store: ContentStore) {
    this.#settings = settings;
    this.#store = store;
  }

  /** Undefined until a tree has been read. */
  get view(): TreeView | undefined {
    return this.#view;
  }

  /** True while no index.json lies where the view was read from. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** Reads the tree if there is one, and goes on looking. */
  async start(): Promise<void> {
    await this.check();
    this.#schedule();
  }

  /** Looks now; answers when what lies there is loaded (or was found wanting). Calls that overlap share one look. */
  check(): Promise<void> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#checking;
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.check().finally(() => this.#schedule());
    }, this.#settings.pollMs);
  }

  async #check(): Promise<void> {
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        // A tree may be swapped as a whole by a link: everything below is read from one real folder.
        const root = await realpath(this.#settings.treeDir);
        const before = await identityAt(root);
        if (before === undefined) return this.#missing((await isFolder(root)) ? 'no-catalog' : 'not-a-folder');
        if (sameIdentity(before, this.#loaded)) return this.#stillThere(root);
        const files = await readTreeFiles(root, Number(before.changedNs / 1_000_000n));
        if (files === undefined || !sameIdentity(before, await identityAt(root))) continue;
        // A first tree without a plugin is one that a sync has yet to fill: 503 is asked for again, 404 is not.
        if (this.#view === undefined && files.catalog.plugins.length === 0) return this.#missing('no-plugins');
        this.#take(root, files);
        this.#loaded = before;
        return;
      }
      // It changes faster than it can be read: there is another look to come.
    } catch (error) {
      if (isAbsent(error)) this.#missing('no-folder');
      else {
        const told = asReadRefusal(error, this.#settings.treeDir);
        this.#report({ kind: 'tree-unreadable', error: told, serving: this.#view !== undefined });
      }
    }
  }

  #missing(why: Missing['why']): void {
    const { treeDir } = this.#settings;
    this.#report({ kind: 'tree-missing', treeDir, why, serving: this.#view !== undefined });
  }

  #take(root: string, files: TreeFiles): void {
    const view = buildTreeView(files, this.#store, this.#settings.view, this.#view);
    this.#store.adopt(root, view.contents);
    this.#view = view;
    this.#wellAgain();
    const { versions, sizeBytes, catalog } = view;
    const plugins = catalog.plugins.length;
    this.#settings.onEvent({ kind: 'tree-loaded', tree: catalog.tree, plugins, versions, sizeBytes });
  }

  /** A folder that was moved away may come back behind a link: the same files, but below another real path. */
  #stillThere(root: string): void {
    if (this.#reported === undefined && root === this.#store.root) return;
    this.#store.returned(root);
    if (this.#reported !== undefined) this.#settings.onEvent({ kind: 'tree-back', treeDir: this.#settings.treeDir });
    this.#wellAgain();
  }

  #wellAgain(): void {
    this.#isGone = false;
    this.#reported = undefined;
  }

  /** Says a thing once, not at every look. */
  #report(event: Missing | Extract<ServerEvent, { kind: 'tree-unreadable' }>): void {
    const cannotBeHad = event.kind === 'tree-missing' || event.error instanceof TreeUnreadable;
    this.#isGone = cannotBeHad && event.serving;
    const text = event.kind === 'tree-missing' ? event.why : String(event.error);
    if (text === this.#reported) return;
    this.#reported = text;
    this.#settings.onEvent(event);
  }
}

/** Undefined if there is none. */
async function identityAt(root: string): Promise<FileIdentity | undefined> {
  try {
    return identityOf(await stat(`${root}/${CATALOG_FILE}`, { bigint: true }));
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

async function isFolder(root: string): Promise<boolean> {
  return (await stat(root)).isDirectory();
}

/** The bytes that are served as index.json are the very bytes that were parsed. Undefined if it is gone meanwhile. */
async function readTreeFiles(root: string, changedAtMs: number): Promise<TreeFiles | undefined> {
  const path = `${root}/${CATALOG_FILE}`;
  const index = await readRegular(path, MAX_CATALOG_BYTES).catch((error: unknown) => {
    throw asReadRefusal(error, path);
  });
  if (index === undefined) return undefined;
  if (typeof index === 'string') throw await unfitCatalog(path, index);
  const inventory = await readRegular(`${root}/${INVENTORY_FILE}`, MAX_INVENTORY_BYTES);
  return {
    catalog: parseCatalog(index.bytes.toString('utf8'), path),
    indexJson: index.bytes,
    inventoryJson: typeof inventory === 'object' ? inventory.bytes : undefined,
    changedAtMs,
  };
}

/** `found`: in words, what lies there instead of a file that can be read. */
async function unfitCatalog(path: string, found: string): Promise<CatalogInvalid> {
  if (isFileText(found))
    return new CatalogInvalid(`${path} is larger than a plugin catalog`, {
      subject: path,
      found,
      hint: 'Run sync again to write it anew.',
    });
  const target = await readlink(path).catch(() => undefined);
  if (target === undefined)
    return new CatalogInvalid(`${path} is no regular file`, {
      subject: path,
      found,
      hint: 'Move it away by hand, then run sync, which writes it anew.',
    });
  const folder = resolve(dirname(path), dirname(target));
  const leadsOut = basename(target) === CATALOG_FILE && folder !== dirname(path);
  return new CatalogInvalid(`${path} is a link, and none is followed within the tree`, {
    subject: path,
    found: `a symbolic link to ${target}`,
    hint: `Mount the folder so that its files are files: an image or a volume claim, for a ConfigMap, a Secret and a projected volume make links of them.${leadsOut ? ` Or point --tree at ${folder}.` : ''}`,
  });
}

/**
 * What is no folder is a mistake of whoever named it, and no sync makes one of it. What is missing may come yet.
 * @throws TreeUnusable
 */
export async function requireFolder(treeDir: string): Promise<void> {
  const stats = await stat(treeDir).catch(() => undefined);
  if (stats === undefined || stats.isDirectory()) return;
  throw new TreeUnusable(`${treeDir} cannot be the folder of the plugins: it is ${kindOf(stats)}`, {
    subject: treeDir,
    expected: 'a folder that sync has published into, or is to',
    found: kindOf(stats),
    hint: 'Name the folder that index.json lies in with --tree.',
  });
}
