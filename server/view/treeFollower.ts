import { realpath, stat } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { isAbsent } from '../../base/errno.ts';
import { asReadRefusal, TreeUnreadable } from '../../tree/errors.ts';
import type { ContentStore } from '../content/contentStore.ts';
import { type FileIdentity, sameIdentity } from '../content/openFile.ts';
import type { ServerEvent, TreeProblem } from '../events.ts';
import { Poller } from '../poller.ts';
import { catalogIdentity, readTreeFiles, type TreeFiles } from './readTree.ts';
import { buildTreeView, type TreeView, type ViewSettings } from './treeView.ts';

const ATTEMPTS = 5;

export interface TreeFollowerSettings {
  readonly treeDir: string;
  readonly pollMs: number;
  /** Interval at which a lasting problem is reported again. */
  readonly repeatReportMs: number;
  readonly view: ViewSettings;
  readonly onEvent: (event: ServerEvent) => void;
}

/**
 * Keeps the view of the tree that index.json describes, and replaces it when index.json changes. Polls the file, because
 * change notifications do not work on every kind of volume. The view stays until a new catalog has been read as a whole; a
 * catalog that is missing or invalid is only reported.
 */
export class TreeFollower {
  readonly #settings: TreeFollowerSettings;
  readonly #store: ContentStore;
  #view: TreeView | undefined;
  #loaded: FileIdentity | undefined;
  readonly #poller: Poller;
  #problem: TreeProblem | undefined;
  #reportedAtMs = 0;

  constructor(settings: TreeFollowerSettings, store: ContentStore) {
    this.#settings = settings;
    this.#store = store;
    this.#poller = new Poller(settings.pollMs, () => this.#check());
  }

  /** Undefined until a tree has been loaded. */
  get view(): TreeView | undefined {
    return this.#view;
  }

  /** Why the last check could not load what is in the folder now; undefined if the view is up to date. */
  get problem(): TreeProblem | undefined {
    return this.#problem;
  }

  /** Whether the loaded tree is no longer in its folder, or cannot be read there. */
  get isGone(): boolean {
    const problem = this.#problem;
    if (problem === undefined || !problem.serving) return false;
    return problem.kind === 'tree-missing' || problem.error instanceof TreeUnreadable;
  }

  /** Loads the tree if there is one, and starts to poll. */
  async start(): Promise<void> {
    await this.check();
    this.#poller.start();
  }

  /** Checks the folder now and loads a new tree. Concurrent calls share one check. */
  check(): Promise<void> {
    return this.#poller.check();
  }

  /** Checks the folder, and the files again in which a fault was found. */
  async reload(): Promise<void> {
    await this.#poller.checkAgain();
    if (this.#view !== undefined) await this.#store.retryFaults();
  }

  /**
   * Resolves when the view is at least as new as the tree was at the moment of the call: a check that had already begun may
   * have missed it, so another one follows. Rejects after `maxMs`, for example because a network volume does not answer.
   */
  refresh(maxMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`The tree could not be checked within ${maxMs} ms`)), maxMs);
      this.#poller.checkAgain().then(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  stop(): Promise<void> {
    return this.#poller.stop();
  }

  async #check(): Promise<void> {
    const { treeDir } = this.#settings;
    const serving = this.#view !== undefined;
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        // A link may switch the whole tree: everything is read from one real folder.
        const root = await realpath(treeDir);
        const before = await catalogIdentity(root);
        if (before === undefined) {
          const why = (await stat(root)).isDirectory() ? 'no-catalog' : 'not-a-folder';
          return this.#report({ kind: 'tree-missing', treeDir, why, serving });
        }
        if (sameIdentity(before, this.#loaded)) return this.#unchanged(root);
        const files = await readTreeFiles(root, Number(before.changedNs / 1_000_000n));
        if (files === undefined || !sameIdentity(before, await catalogIdentity(root))) continue;
        // A first tree without plugins is one that sync has yet to fill. Gateways retry after 503, but not after 404.
        if (!serving && files.catalog.plugins.length === 0)
          return this.#report({ kind: 'tree-missing', treeDir, why: 'no-plugins', serving });
        await this.#load(root, files);
        this.#loaded = before;
        return;
      }
      // The catalog changes faster than it can be read; the next check tries again.
    } catch (error) {
      if (isAbsent(error)) this.#report({ kind: 'tree-missing', treeDir, why: 'no-folder', serving });
      else this.#report({ kind: 'tree-unreadable', treeDir, error: asReadRefusal(error, treeDir), serving });
    }
  }

  async #load(root: string, files: TreeFiles): Promise<void> {
    const view = buildTreeView(files, this.#store, this.#settings.view, this.#view);
    this.#store.adopt(root, view.contents);
    // Missing files are known before a new server is ready. A running one goes on in the meantime.
    const found = this.#store.findMissing();
    if (this.#view === undefined) await found;
    this.#view = view;
    this.#problem = undefined;
    const { versions, sizeBytes, catalog } = view;
    const plugins = catalog.plugins.length;
    this.#settings.onEvent({ kind: 'tree-loaded', tree: catalog.tree, plugins, versions, sizeBytes });
  }

  /** The folder may have been moved away and have returned behind a link: the same files below another real path. */
  #unchanged(root: string): void {
    if (this.#problem === undefined && root === this.#store.root) return;
    this.#store.relocate(root);
    if (this.#problem !== undefined) this.#settings.onEvent({ kind: 'tree-back', treeDir: this.#settings.treeDir });
    this.#problem = undefined;
  }

  /** Reports a new problem immediately, and a lasting one from time to time. */
  #report(problem: TreeProblem): void {
    const isNew = this.#problem === undefined || keyOf(problem) !== keyOf(this.#problem);
    this.#problem = problem;
    const nowMs = performance.now();
    if (!isNew && nowMs - this.#reportedAtMs < this.#settings.repeatReportMs) return;
    this.#reportedAtMs = nowMs;
    this.#settings.onEvent(problem);
  }
}

function keyOf(problem: TreeProblem): string {
  return problem.kind === 'tree-missing' ? problem.why : String(problem.error);
}
