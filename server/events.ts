import type { Fault } from './fault.ts';

/** What is the case with the files of one content. Each path is told of once, until something else is the case with it. */
export type ContentEvent =
  /** damaged: no file at these paths has these bytes, and 503 is answered. displaced: neither, but the right bytes are served
   *  from the file that is still open. copy-damaged: the right bytes are served from another path. */
  | {
      readonly kind: 'content';
      readonly state: 'damaged' | 'displaced' | 'copy-damaged';
      readonly fault: Fault;
      readonly paths: readonly string[];
      readonly sha256: string;
    }
  /** What was told of these paths is over: the right bytes lie there. */
  | {
      readonly kind: 'content';
      readonly state: 'whole';
      readonly paths: readonly string[];
      readonly sha256: string;
    };

/** What the server tells whoever started it. Nothing here ends it. */
export type ServerEvent =
  | {
      readonly kind: 'tree-loaded';
      readonly tree: string;
      readonly plugins: number;
      readonly versions: number;
      readonly sizeBytes: number;
    }
  /** There is no tree. no-plugins: a first catalog that names none. `serving`: what was read before is served on. */
  | {
      readonly kind: 'tree-missing';
      readonly treeDir: string;
      readonly why: 'no-folder' | 'not-a-folder' | 'no-catalog' | 'no-plugins';
      readonly serving: boolean;
    }
  /** What was reported of the tree is over; it is the one that was served all along. */
  | { readonly kind: 'tree-back'; readonly treeDir: string }
  | { readonly kind: 'tree-unreadable'; readonly error: unknown; readonly serving: boolean }
  | ContentEvent
  /** Another certificate is shown from now on. */
  | { readonly kind: 'tls-loaded' }
  /** The certificate's files cannot be used as they are now; the former one is shown on. */
  | { readonly kind: 'tls-unusable'; readonly error: unknown }
  /** A request met a mistake of this program, or a disk that gave in. */
  | { readonly kind: 'failure'; readonly url: string; readonly error: unknown };
