import { addTo } from '../../base/groups.ts';
import type { ContentEvent, Fault } from '../events.ts';
import type { Content } from './content.ts';

type Trouble = Extract<ContentEvent, { fault: Fault }>['state'];

/** Reports the faults of files, each once until it changes, and their repair. */
export class FaultReports {
  readonly #onEvent: (event: ContentEvent) => void;
  /** The last report of each path, by content. */
  readonly #reported = new WeakMap<Content, Map<string, string>>();

  constructor(onEvent: (event: ContentEvent) => void) {
    this.#onEvent = onEvent;
  }

  /** Reports the faults that have not been reported yet, in one event for all paths with the same fault. */
  faults(content: Content, state: Trouble, faults: ReadonlyMap<string, Fault>): void {
    const reported = this.#reported.get(content) ?? new Map<string, string>();
    this.#reported.set(content, reported);
    const news = new Map<Fault, string[]>();
    for (const [path, fault] of faults) {
      const text = `${state} ${fault}`;
      if (reported.get(path) === text) continue;
      reported.set(path, text);
      addTo(news, fault, path);
    }
    for (const [fault, paths] of news) this.#onEvent({ kind: 'content', state, fault, paths, sha256: content.sha256 });
  }

  /** The files at `paths` have the right bytes: reports it for those that had a fault. */
  whole(content: Content, paths: readonly string[]): void {
    const reported = this.#reported.get(content);
    const repaired = paths.filter(path => reported?.delete(path) === true);
    if (repaired.length > 0)
      this.#onEvent({ kind: 'content', state: 'whole', paths: repaired, sha256: content.sha256 });
  }
}
