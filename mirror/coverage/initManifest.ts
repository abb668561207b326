import { globMatcher } from '../../base/globs.ts';
import { nearest } from '../../base/nearest.ts';
import { Refusal } from '../../base/refusal.ts';
import { plural } from '../../base/words.ts';
import { compareVersions } from '../../tree/catalog.ts';
import type { WrittenManifest } from '../import/collect.ts';
import { versionKey } from '../report.ts';
import { type WrittenPlugin, withVersion } from './manifestLines.ts';
import {
  type HigressData,
  type HigressRelease,
  higressRegistry,
  type ReleasePlugin,
} from './requests/higressReleases.ts';

/** The same limit as for problems of a manifest. */
const shownConflicts = 50;

/** A path for which two releases mean different images. A tree can have one of them. */
export interface ReleaseConflict {
  readonly name: string;
  readonly version: string;
  /** In the order in which the releases were made. */
  readonly meant: readonly { readonly release: string; readonly image: string }[];
}

/** The chosen releases cannot be served by one tree. */
export class HigressReleasesConflict extends Refusal {
  readonly code = 'HIGRESS_RELEASES_CONFLICT';
  readonly conflicts: readonly ReleaseConflict[];

  constructor(conflicts: readonly ReleaseConflict[]) {
    const lines = conflicts.map(
      ({ name, version, meant }) =>
        `${name}/${version}: ${meant.map(({ release, image }) => `${image} in ${release}`).join(', ')}`,
    );
    const more = lines.length > shownConflicts ? [`… and ${lines.length - shownConflicts} more`] : [];
    const releases = [...new Set(conflicts.flatMap(({ meant }) => meant.map(({ release }) => release)))].join(' and ');
    const paths = plural(lines.length, 'path');
    super(`Higress ${releases} mean different images by ${paths}`, {
      subject: releases,
      lines: [...lines.slice(0, shownConflicts), ...more],
      expected: 'releases that mean the same image by each path',
      found: `${paths} with two images or more`,
      hint: `Leave out ${releases.replaceAll(' and ', ' or ')}, and serve that release from a tree of its own; or choose plugins without a conflict by --plugin.`,
    });
    this.conflicts = conflicts;
  }
}

export class HigressPluginUnknown extends Refusal {
  readonly code = 'HIGRESS_PLUGIN_UNKNOWN';

  constructor(written: string, known: readonly string[]) {
    const near = nearest(written, known);
    super(`No plugin of the chosen releases is called "${written}"`, {
      subject: written,
      expected: 'a plugin of the releases, or a glob that fits one',
      found: written,
      hint: near === undefined ? `They are ${known.join(', ')}.` : `Did you mean ${near}?`,
    });
  }
}

export interface InitOptions {
  readonly data: HigressData;
  /** From chooseReleases. */
  readonly releases: readonly HigressRelease[];
  /** `HOST[/PREFIX]` of the images. Default: the Higress registry. */
  readonly registry?: string;
  /** Names or globs. Default: every plugin of the releases. */
  readonly plugins?: readonly string[];
}

/**
 * Returns a manifest that serves every path that the releases request, and those of the Controller and the all-in-one image.
 * The versions are the requested ones; an image's tag that differs becomes an alias or goes into `tags`.
 * @throws HigressReleasesConflict, HigressPluginUnknown
 */
export function initManifest({ data, releases, registry, plugins = [] }: InitOptions): WrittenManifest {
  const paths = new Map<string, Requested>();
  // From the oldest on, so that a conflict names the releases in the order in which they were made.
  for (const { release, plugins: requested } of [...releases].reverse())
    for (const plugin of requested) addRequested(paths, plugin, release);
  // A path that a release has too keeps the release's image, as in upstream's own server.
  for (const { release, plugins: requested } of [data.controller, data.allInOne])
    for (const plugin of requested) if (!paths.has(versionKey(plugin))) addRequested(paths, plugin, release);
  const names = [...new Set([...paths.values()].map(({ name }) => name))].sort();
  const chosen = chooseNames(plugins, names);
  const kept = [...paths.values()].filter(({ name }) => chosen.has(name));
  const conflicts = kept.filter(({ meant }) => new Set(meant.map(({ image }) => image)).size > 1);
  if (conflicts.length > 0) throw new HigressReleasesConflict(conflicts.map(distinctImages));
  const written: Record<string, WrittenPlugin> = {};
  for (const name of chosen) {
    const wanted = kept.filter(path => path.name === name).sort(byTagThenVersion);
    for (const { version, plugin } of wanted)
      written[name] = withVersion(written[name], {
        name,
        version,
        image: { repository: plugin.image, tag: plugin.tag },
      });
  }
  return { $schema: './manifest.schema.json', registry: registry ?? higressRegistry, plugins: written };
}

interface Requested extends ReleaseConflict {
  readonly plugin: ReleasePlugin;
}

function addRequested(paths: Map<string, Requested>, plugin: ReleasePlugin, release: string): void {
  const { name, version } = plugin;
  const key = versionKey(plugin);
  const meant = { release, image: `${plugin.image}:${plugin.tag}` };
  const known = paths.get(key);
  paths.set(key, { name, version, plugin, meant: [...(known?.meant ?? []), meant] });
}

/** One release for each image: more of them say nothing new. */
function distinctImages({ name, version, meant }: Requested): ReleaseConflict {
  const byImage = new Map(meant.map(each => [each.image, each]));
  return { name, version, meant: [...byImage.values()] };
}

function chooseNames(written: readonly string[], names: readonly string[]): Set<string> {
  if (written.length === 0) return new Set(names);
  return new Set(
    written.flatMap(each => {
      const fits = globMatcher(each);
      const fitting = names.filter(name => fits(name));
      if (fitting.length === 0) throw new HigressPluginUnknown(each, names);
      return fitting;
    }),
  );
}

/** Versions that are tagged as they are called come first, the newest of them in front; the others may be aliases of them. */
function byTagThenVersion(one: Requested, other: Requested): number {
  const renamed = ({ plugin }: Requested): number => Number(plugin.tag !== plugin.version);
  return renamed(one) - renamed(other) || compareVersions(other.version, one.version);
}
