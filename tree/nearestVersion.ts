import type SemVer from 'semver/classes/semver.js';
import parse from 'semver/functions/parse.js';
import { misspelled } from '../base/nearest.ts';
import { compareVersions } from './catalog.ts';

export interface NearestVersion {
  readonly version: string;
  /** Whether it is the requested version, written differently: `2.0.3` for `v2.0.3`, `2.0.3+build.1` or `2.0.3-RC.1`. */
  readonly isSame: boolean;
}

/**
 * Returns the version that exists and is nearest to a requested one, or undefined if there are none. The same version with or
 * without `v` comes first, then the highest of an incomplete one (`2.0`), then the nearest by semver, of which the next higher
 * one wins over an equally near lower one. A release is not answered with a pre-release while there is a release. For a version
 * that is not semver it is a misspelled one, else the highest.
 * @param versions in semver order, as a catalog has them
 */
export function nearestVersion(requested: string, versions: readonly string[]): NearestVersion | undefined {
  const same = versions.find(version => plain(version) === plain(requested));
  if (same !== undefined) return { version: same, isSame: true };
  const version =
    highestOf(requested, versions) ??
    nearestSemver(requested, versions) ??
    misspelled(requested, versions) ??
    versions.findLast(isRelease) ??
    versions.at(-1);
  return version === undefined ? undefined : { version, isSame: false };
}

function plain(version: string): string {
  return version
    .trim()
    .toLowerCase()
    .replace(/^[v=]+(?=\d)/, '')
    .replace(/\+.*$/, '');
}

/** The highest release that an incomplete version such as `2`, `v2.0` or `2.0.x` begins. */
function highestOf(requested: string, versions: readonly string[]): string | undefined {
  const numbers = /^v?(\d+(?:\.\d+)?)(?:\.[x*])*$/i.exec(requested)?.[1];
  if (numbers === undefined) return undefined;
  const begins = (version: string): boolean => plain(version).startsWith(`${numbers}.`);
  return versions.findLast(version => isRelease(version) && begins(version)) ?? versions.findLast(begins);
}

/** The pattern is much quicker than parsing, for a 404 of a plugin with a hundred thousand pre-releases or branch names. */
function isRelease(version: string): boolean {
  return /^[v=\s]*\d[^-+]*(?:\+|$)/i.test(version) && parse(version, { loose: true })?.prerelease.length === 0;
}

/** Of the next lower and the next higher version, the one that differs less: in the major number, then the minor, then the patch. */
function nearestSemver(requested: string, versions: readonly string[]): string | undefined {
  const wanted = parse(completed(requested), { loose: true });
  if (wanted === null) return undefined;
  const candidate = (wantsRelease: boolean, at: number, step: 1 | -1): Candidate | undefined => {
    for (let index = at; index >= 0 && index < versions.length; index += step) {
      const version = versions[index] ?? '';
      if (wantsRelease && !isRelease(version)) continue;
      const parsed = parse(version, { loose: true });
      if (parsed !== null) return { version, parsed };
    }
    return undefined;
  };
  const next = firstNotBelow(wanted.version, versions);
  for (const wantsRelease of wanted.prerelease.length === 0 ? [true, false] : [false]) {
    const below = candidate(wantsRelease, next - 1, -1);
    const above = candidate(wantsRelease, next, 1);
    if (below !== undefined && above !== undefined)
      return isNearer(below.parsed, above.parsed, wanted) ? below.version : above.version;
    if (below !== undefined || above !== undefined) return (below ?? above)?.version;
  }
  return undefined;
}

interface Candidate {
  readonly version: string;
  readonly parsed: SemVer;
}

/** `2` is `2.0.0`. */
function completed(version: string): string {
  if (/^v?\d+$/i.test(version)) return `${version}.0.0`;
  return /^v?\d+\.\d+$/i.test(version) ? `${version}.0` : version;
}

/** A binary search: a plugin may have thousands of versions. */
function firstNotBelow(wanted: string, versions: readonly string[]): number {
  let [low, high] = [0, versions.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareVersions(versions[middle] ?? '', wanted) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function isNearer(one: SemVer, other: SemVer, wanted: SemVer): boolean {
  for (const part of ['major', 'minor', 'patch'] as const) {
    const difference = Math.abs(one[part] - wanted[part]) - Math.abs(other[part] - wanted[part]);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
