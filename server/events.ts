/**
 * Why the expected bytes cannot be read at a path:
 * - gone: the path does not exist.
 * - forbidden: this user may not read the file.
 * - no-file: the path is a link, a folder or another non-file, or it leads out of the tree.
 * - replaced: another file with other bytes has taken the path.
 * - altered: the file has other bytes than the catalog lists.
 * - unreadable: the disk or the system failed to read it.
 */
export type Fault = 'gone' | 'forbidden' | 'no-file' | 'replaced' | 'altered' | 'unreadable';

/** A change in the state of the files of one content. Reported once for each path, until its state changes again. */
export type ContentEvent =
  /**
   * damaged: the file at each of these paths has a fault, and requests get 503. displaced: the same, but the right bytes are
   * served from the file that is still open. copy-damaged: the right bytes are served from another path.
   */
  | {
      readonly kind: 'content';
      readonly state: 'damaged' | 'displaced' | 'copy-damaged';
      readonly fault: Fault;
      readonly paths: readonly string[];
      readonly sha256: string;
    }
  /** The files at these paths, of which a fault was reported, have the right bytes again. */
  | {
      readonly kind: 'content';
      readonly state: 'whole';
      readonly paths: readonly string[];
      readonly sha256: string;
    };

/** Why no tree can be loaded. `serving`: the tree that was loaded before is still served. */
export type TreeProblem =
  /** no-plugins: the first catalog lists no plugin. */
  | {
      readonly kind: 'tree-missing';
      readonly treeDir: string;
      readonly why: 'no-folder' | 'not-a-folder' | 'no-catalog' | 'no-plugins';
      readonly serving: boolean;
    }
  | { readonly kind: 'tree-unreadable'; readonly treeDir: string; readonly error: unknown; readonly serving: boolean };

/** Protocols that clients and load balancers speak by mistake; `plain HTTP`: on a port for HTTPS. */
export type ForeignProtocol = 'PROXY protocol' | 'HTTP/2' | 'TLS' | 'plain HTTP';

/** What a server reports while it runs. None of these events ends it. */
export type ServerEvent =
  | {
      readonly kind: 'tree-loaded';
      readonly tree: string;
      readonly plugins: number;
      readonly versions: number;
      readonly sizeBytes: number;
    }
  /** Reported when the problem appears and every minute while it lasts. */
  | TreeProblem
  /** A reported problem is over; the tree is the one that was served all the time. */
  | { readonly kind: 'tree-back'; readonly treeDir: string }
  | ContentEvent
  /** The process may open so few files that fewer connections than usual are accepted. Reported at the start. */
  | {
      readonly kind: 'few-descriptors';
      readonly limit: number;
      readonly openFiles: number;
      readonly connections: number;
    }
  /** The layout lacks manifests or blobs of these images, such as those that a delta leaves to its base. Reported at the start. */
  | {
      readonly kind: 'images-incomplete';
      readonly path: string;
      readonly images: readonly string[];
      readonly of: number;
    }
  /** Clients that verify the certificate will refuse it. Reported at the start. */
  | { readonly kind: 'tls-doubtful'; readonly error: unknown }
  /** New connections get a new certificate. */
  | { readonly kind: 'tls-loaded' }
  /** The certificate's files cannot be used; new connections still get the former certificate. */
  | { readonly kind: 'tls-unusable'; readonly error: unknown }
  /** Requests need the new token or password from now on. */
  | { readonly kind: 'credentials-loaded' }
  /** The secrets cannot be used; the former ones are still required. */
  | { readonly kind: 'credentials-unusable'; readonly error: unknown }
  /** Connections begin with bytes of a protocol that this port does not speak. Reported once for each protocol. */
  | { readonly kind: 'foreign-protocol'; readonly protocol: ForeignProtocol; readonly client: string }
  /** Connections begin with bytes of an unknown protocol, such as `SSH-2.0-x`. Reported once for each first word. */
  | { readonly kind: 'no-http'; readonly firstWord: string; readonly client: string }
  /** Clients that read slowly fill the memory for connections, and the quietest connections are cut. At most once a minute. */
  | { readonly kind: 'slow-clients' }
  /** A request failed because of a defect of this program or of the disk. */
  | { readonly kind: 'failure'; readonly url: string; readonly error: unknown };

/** Returns one sentence, without a full stop: for the log and for /readyz, and in Chinese for readers of the pages. */
export function describeTreeProblem(problem: TreeProblem, language: 'en' | 'zh' = 'en'): string {
  const { treeDir } = problem;
  const isChinese = language === 'zh';
  if (problem.kind === 'tree-unreadable')
    return isChinese ? `无法读取插件目录 ${treeDir}` : `the tree in ${treeDir} cannot be read`;
  const { why, serving } = problem;
  switch (why) {
    case 'no-folder':
      if (isChinese) return serving ? `插件目录 ${treeDir} 已消失` : `插件目录 ${treeDir} 不存在`;
      return serving ? `the folder ${treeDir} is gone` : `the folder ${treeDir} does not exist`;
    case 'not-a-folder':
      return isChinese ? `${treeDir} 不是目录` : `${treeDir} is not a folder`;
    case 'no-catalog':
      if (isChinese) return serving ? `${treeDir} 中的 index.json 已消失` : `${treeDir} 中没有 index.json`;
      return serving ? `index.json in ${treeDir} is gone` : `${treeDir} has no index.json`;
    case 'no-plugins':
      return isChinese ? `${treeDir} 中的 index.json 没有列出任何插件` : `index.json in ${treeDir} lists no plugin`;
  }
}
