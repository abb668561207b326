import type { Node } from 'jsonc-parser';
import { isDigest } from '../../registry/reference.ts';
import { versionProblem } from '../../tree/names.ts';
import { formatPlace, type Path, quoted } from '../json/problem.ts';
import { itemsOf, type Member, memberOf } from '../json/strictJson.ts';
import { type Fault, loginFault, pinFault, type RegistryPlace, splitPin } from './imageText.ts';

/** What the reading of a manifest's parts has in common. */
export interface Reading {
  /** The folder of the manifest: local files are relative to it. */
  readonly folder: string;
  /** Where images lie that name no host. */
  readonly base: RegistryPlace;
  report(path: Path, node: Node, fault: Fault): void;
}

export const nameRule = 'at most 128 letters, digits and . _ ~ + @ -, no dot in front';
export const versionRule = 'at most 128 letters, digits and . _ ~ + - :, no dot in front';

/** A version as it is written, its pin split off. */
export interface WrittenVersion {
  readonly version: string;
  readonly pin?: string;
  readonly path: Path;
  readonly node: Node;
}

/** What stands where versions stand, in all three forms of a plugin. */
export function writtenVersions(node: Node, path: Path): WrittenVersion[] {
  const split = (each: Node, at: Path): WrittenVersion[] => {
    if (each.type !== 'string') return [];
    const { before, digest } = splitPin(String(each.value));
    return [{ version: before, ...(digest === undefined ? {} : { pin: digest }), path: at, node: each }];
  };
  if (node.type === 'string') return split(node, path);
  const list = node.type === 'array' ? node : memberOf(node, 'versions')?.node;
  const at = node.type === 'array' ? path : [...path, 'versions'];
  return itemsOf(list).flatMap((item, index) => split(item, [...at, index]));
}

/** Judges the versions and gives back each once. */
export function readVersions(written: readonly WrittenVersion[], reading: Reading): WrittenVersion[] {
  const seen = new Map<string, WrittenVersion>();
  const lower = new Map<string, WrittenVersion>();
  for (const each of written) {
    // Else a part of it would be taken for a version, and shown.
    const login = loginFault(String(each.node.value), 'a version');
    if (login !== undefined) {
      reading.report(each.path, each.node, login);
      continue;
    }
    const unfit = versionProblem(each.version);
    const before = seen.get(each.version);
    const twin = lower.get(each.version.toLowerCase());
    if (unfit !== undefined)
      reading.report(each.path, each.node, {
        found: `the version ${quoted(each.version)}, which ${unfit}`,
        expected: versionRule,
        ...(/^v?\d.*[<>=*^]|^[\^~<>=*]/.test(each.version)
          ? { hint: 'Ranges are not known here; name each version.' }
          : {}),
      });
    else if (before !== undefined)
      reading.report(each.path, each.node, {
        found: `${quoted(each.version)} again`,
        expected: 'each version once',
        hint: `It stands at ${formatPlace(before.path)} already.`,
      });
    else if (twin !== undefined) reading.report(each.path, each.node, twinFault(each.version, twin.version, 'version'));
    if (each.pin !== undefined && !isDigest(each.pin))
      reading.report(each.path, each.node, pinFault(String(each.node.value)));
    if (before === undefined) seen.set(each.version, each);
    if (twin === undefined) lower.set(each.version.toLowerCase(), each);
  }
  return [...seen.values()];
}

/** Names that differ only by case: a tree may be carried to a disk, or out of an archive, that knows no case. */
export function refuseTwins(
  path: Path,
  members: readonly Member[],
  what: string,
  reading: Reading,
  before: readonly WrittenVersion[] = [],
): void {
  const seen = new Map(before.map(each => [each.version.toLowerCase(), each.version]));
  for (const { key, keyNode } of members) {
    const twin = seen.get(key.toLowerCase());
    if (twin !== undefined && twin !== key) reading.report([...path, key], keyNode, twinFault(key, twin, what));
    if (twin === undefined) seen.set(key.toLowerCase(), key);
  }
}

function twinFault(text: string, twin: string, what: string): Fault {
  return {
    found: `${quoted(text)} beside ${quoted(twin)}`,
    expected: `${what}s that differ by more than case`,
    hint: 'A disk or an archive tool that knows no case would keep one of them and lose the other.',
  };
}

export function listed(texts: ReadonlySet<string>): string {
  const first: string[] = [];
  for (const text of texts) if (first.push(quoted(text)) === 8) break;
  return texts.size > first.length ? `${first.join(', ')} … (${texts.size} in all)` : first.join(', ');
}
