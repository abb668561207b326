import type { ContentEvent } from '../events.ts';
import type { Fault } from '../fault.ts';
import type { Content } from './content.ts';

type Trouble = Extract<ContentEvent, { fault: Fault }>['state'];

/** Remembers what has been said of each file, so that a thing is said once, and so is that it is well again. */
export class Findings {
  readonly #tell: (event: ContentEvent) => void;
  /** By content and path. */
  readonly #told = new WeakMap<Content, Map<string, string>>();

  constructor(tell: (event: ContentEvent) => void) {
    this.#tell = tell;
  }

  /** Tells what of it is news; paths with the same fault share an event. */
  trouble(content: Content, state: Trouble, faults: ReadonlyMap<string, Fault>): void {
    const told = this.#told.get(content) ?? new Map<string, string>();
    this.#told.set(content, told);
    const news = new Map<Fault, string[]>();
    for (const [path, fault] of faults) {
      const text = `${state} ${fault}`;
      if (told.get(path) === text) continue;
      told.set(path, text);
      news.set(fault, [...(news.get(fault) ?? []), path]);
    }
    for (const [fault, paths] of news) this.#tell({ kind: 'content', state, fault, paths, sha256: content.sha256 });
  }

  /** The right bytes lie at these paths. Says so of those that it has said something else of. */
  whole(content: Content, whole: readonly string[]): void {
    const told = this.#told.get(content);
    const paths = whole.filter(path => told?.delete(path) === true);
    if (paths.length > 0) this.#tell({ kind: 'content', state: 'whole', paths, sha256: content.sha256 });
  }
}
