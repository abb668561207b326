import type { Node } from 'jsonc-parser';
import { isDigest } from '../../registry/reference.ts';
import { versionProblem } from '../../tree/names.ts';
import { formatPath, type Path, quoted } from '../json/problem.ts';
import { itemsOf, type Member, memberOf } from '../json/strictJson.ts';
import { type Fault, loginFault, pinFault, type RegistryPrefix, splitPin } from './imageText.ts';

/** What all parts of reading a manifest share. */
export interface Reading {
  /** Returns the absolute path of a file that the manifest names. */
  readonly locate: (written: string) => string;
  /** For images that name no host. */
  readonly base: RegistryPrefix;
  report(path: Path, node: Node, fault: Fault): void;
  /** To be awaited before each of many entries: timers and signals are served meanwhile. */
  rest(): Promise<void> | undefined;
}

export const nameRule = 'at most 128 letters, digits and . _ ~ + @ -, no dot in front';
export const versionRule = 'at most 128 letters, digits and . _ ~ + - :, no dot in front';

/** A version as written, without its pin. */
export interface WrittenVersion {
  readonly version: string;
  readonly pin?: string;
  readonly path: Path;
  readonly node: Node;
}

/** Returns the versions of a plugin in any of its three forms. */
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

/** Validates the versions and returns each one once. */
export function readVersions(written: readonly WrittenVersion[], reading: Reading): WrittenVersion[] {
  const seen = new Map<string, WrittenVersion>();
  const lower = new Map<string, WrittenVersion>();
  for (const each of written) {
    // First, so that no part of a password is shown as a version.
    const login = loginFault(String(each.node.value), 'a version');
    if (login !== undefined) {
      reading.report(each.path, each.node, login);
      continue;
    }
    const unfit = versionProblem(each.version);
    const before = seen.get(each.version);
    const variant = lower.get(each.version.toLowerCase());
    if (unfit !== undefined)
      reading.report(each.path, each.node, {
        found: `the version ${quoted(each.version)}, which ${unfit}`,
        expected: versionRule,
        ...(/^v?\d.*[<>=*^]|^[\^~<>=*]/.test(each.version)
          ? { hint: 'Ranges are not supported; name each version.' }
          : {}),
      });
    else if (before !== undefined)
      reading.report(each.path, each.node, {
        found: `${quoted(each.version)} again`,
        expected: 'each version once',
        hint: `It is at ${formatPath(before.path)} already.`,
      });
    else if (variant !== undefined)
      reading.report(each.path, each.node, caseFault(each.version, variant.version, 'version'));
    if (each.pin !== undefined && !isDigest(each.pin))
      reading.report(each.path, each.node, pinFault(String(each.node.value)));
    if (before === undefined) seen.set(each.version, each);
    if (variant === undefined) lower.set(each.version.toLowerCase(), each);
  }
  return [...seen.values()];
}

/** Reports names that differ only by case: a tree may be copied to a file system that ignores case. */
export function reportCaseVariants(
  path: Path,
  members: readonly Member[],
  what: string,
  reading: Reading,
  before: readonly WrittenVersion[] = [],
): void {
  const seen = new Map(before.map(each => [each.version.toLowerCase(), each.version]));
  for (const { key, keyNode } of members) {
    const variant = seen.get(key.toLowerCase());
    if (variant !== undefined && variant !== key)
      reading.report([...path, key], keyNode, caseFault(key, variant, what));
    if (variant === undefined) seen.set(key.toLowerCase(), key);
  }
}

function caseFault(text: string, variant: string, what: string): Fault {
  return {
    found: `${quoted(text)}, while there is ${quoted(variant)}`,
    expected: `${what}s that differ by more than case`,
    hint: 'A file system or an archive tool that ignores case would keep only one of them.',
  };
}

export function listed(texts: ReadonlySet<string>): string {
  const first: string[] = [];
  for (const text of texts) if (first.push(quoted(text)) === 8) break;
  return texts.size > first.length ? `${first.join(', ')} … (${texts.size} in all)` : first.join(', ');
}
