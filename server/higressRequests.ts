/**
 * What Higress releases request of a plugin server. The command line reads it from the data of the program; the pages of the
 * server show which of it the tree has.
 */
export interface HigressRequests {
  /** Of Higress Console, the newest first. */
  readonly releases: readonly HigressReleaseRequests[];
  /** Higress Controller and the all-in-one image. */
  readonly others: readonly HigressReleaseRequests[];
  /**
   * Returns the lines of manifest.json that make sync publish these versions too, one line for each plugin. `present`: the
   * versions of that plugin in the tree.
   */
  readonly manifestLines: (
    missing: readonly RequestedVersion[],
    present: (name: string) => readonly PresentVersion[],
  ) => readonly string[];
}

export interface HigressReleaseRequests {
  /** `2.2.5`, or the name of another part of Higress. */
  readonly release: string;
  readonly plugins: readonly RequestedVersion[];
}

export interface RequestedVersion {
  readonly name: string;
  /** The version in the URL. */
  readonly version: string;
  /** The same version as the tree writes it: the line of the manifest then has an alias. */
  readonly sameAs?: string;
}

export interface PresentVersion {
  readonly version: string;
  readonly aliasOf?: string;
  readonly reference: string;
}

/** Returns every consumer that requests this version, the newest release first: `Higress Console 2.2.5`. */
export function requestedBy({ releases, others }: HigressRequests, name: string, version: string): string[] {
  const requests = ({ plugins }: HigressReleaseRequests) =>
    plugins.some(plugin => plugin.name === name && plugin.version === version);
  return [
    ...releases.filter(requests).map(({ release }) => `Higress Console ${release}`),
    ...others.filter(requests).map(({ release }) => release),
  ];
}
