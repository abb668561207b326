/** What the server tells whoever started it. Nothing here ends it. */
export type ServerEvent =
  | {
      readonly kind: 'tree-loaded';
      readonly tree: string;
      readonly plugins: number;
      readonly versions: number;
      readonly sizeBytes: number;
    }
  /** No index.json lies there. `serving`: what was read before is served on. */
  | { readonly kind: 'tree-missing'; readonly treeDir: string; readonly serving: boolean }
  | { readonly kind: 'tree-unreadable'; readonly error: unknown; readonly serving: boolean }
  /** damaged: no file at these paths has these bytes, and 503 is answered. displaced: another file lies there, the right
   *  bytes are served from the one that is still open. copy-damaged: these files hold other bytes, the right ones are served
   *  from another path. whole: all is well again. */
  | {
      readonly kind: 'content';
      readonly state: 'damaged' | 'displaced' | 'whole' | 'copy-damaged';
      readonly paths: readonly string[];
      readonly sha256: string;
    }
  /** Another certificate is shown from now on. */
  | { readonly kind: 'tls-loaded' }
  /** The certificate's files cannot be used as they are now; the former one is shown on. */
  | { readonly kind: 'tls-unusable'; readonly error: unknown }
  /** A request met a mistake of this program, or a disk that gave in. */
  | { readonly kind: 'failure'; readonly url: string; readonly error: unknown };
