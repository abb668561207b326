import type { Node } from 'jsonc-parser';
import { nearest } from '../../base/nearest.ts';
import { versionProblem } from '../../tree/names.ts';
import { formatPath, type Path, quoted } from '../json/problem.ts';
import { type Member, membersOf } from '../json/strictJson.ts';
import { listed, type Reading, versionRule, type WrittenVersion } from './versions.ts';

export interface ResolvedAlias {
  readonly version: string;
  /** The version at the end of the chain. */
  readonly target: string;
  /** Its path in the manifest. */
  readonly path: string;
}

/** Follows every alias to the version whose bytes it publishes. */
export async function readAliases(
  path: Path,
  aliases: Node,
  known: readonly WrittenVersion[],
  reading: Reading,
): Promise<ResolvedAlias[]> {
  const versions = new Set(known.map(each => each.version));
  const members = membersOf(aliases).filter(member => member.key !== '__proto__' && member.node.type === 'string');
  const targets = new Map(members.map(member => [member.key, String(member.node.value)]));
  const ends = new Map<string, End>();
  const reported = new Set<readonly string[]>();
  const resolved: ResolvedAlias[] = [];
  for (const member of members) {
    await reading.rest();
    const at = [...path, member.key];
    const isValid = validateAlias(member, at, versions, targets, reading);
    const end = follow(member.key, versions, targets, ends);
    // Once per circle, at its first alias; an alias that only leads into a circle is fixed with it.
    if (end.kind === 'circle' && !reported.has(end.circle) && end.circle.includes(member.key)) {
      reported.add(end.circle);
      reading.report(at, member.node, {
        found: `a circle, ${[...end.circle.slice(0, 8), member.key].map(each => quoted(each)).join(' → ')}`,
        expected: `an alias of one of the versions: ${listed(versions)}`,
      });
    }
    if (isValid && end.kind === 'version')
      resolved.push({ version: member.key, target: end.version, path: formatPath(at) });
  }
  return resolved;
}

/** Validates one alias without following it. */
function validateAlias(
  { key, keyNode, node }: Member,
  at: Path,
  versions: ReadonlySet<string>,
  targets: ReadonlyMap<string, string>,
  reading: Reading,
): boolean {
  const unfit = versionProblem(key);
  if (unfit !== undefined)
    reading.report(at, keyNode, { found: `the alias ${quoted(key)}, which ${unfit}`, expected: versionRule });
  const shadows = versions.has(key);
  if (shadows)
    reading.report(at, keyNode, {
      found: `an alias ${quoted(key)}, which is a version of this plugin already`,
      expected: 'an alias that is not a version',
      hint: 'Remove it here or from the versions.',
    });
  const target = String(node.value);
  const leads = versions.has(target) || targets.has(target);
  if (!leads) {
    const near = nearest(target, [...versions]);
    const pinned = /@sha(256|512):/.test(target);
    const hint = pinned ? 'Remove the pin; it belongs to the version.' : near && `Did you mean "${near}"?`;
    reading.report(at, node, {
      found: `an alias of ${quoted(target)}, which does not exist`,
      expected: `one of the versions: ${listed(versions)}`,
      ...(hint === undefined ? {} : { hint }),
    });
  }
  return unfit === undefined && !shadows && leads;
}

type End =
  | { readonly kind: 'version'; readonly version: string }
  | { readonly kind: 'nowhere' }
  | { readonly kind: 'circle'; readonly circle: readonly string[] };

/** Remembers the end of every alias on the way, so that long chains are walked once. */
function follow(
  alias: string,
  versions: ReadonlySet<string>,
  targets: ReadonlyMap<string, string>,
  ends: Map<string, End>,
): End {
  const way = new Set<string>();
  let end: End | undefined;
  let at = alias;
  while (end === undefined) {
    const target = targets.get(at);
    // The first step is the alias itself, even if a version has its name.
    if (way.size > 0 && versions.has(at)) end = { kind: 'version', version: at };
    else if (ends.has(at)) end = ends.get(at);
    else if (way.has(at)) end = { kind: 'circle', circle: [...way].slice([...way].indexOf(at)) };
    else if (target === undefined) end = { kind: 'nowhere' };
    else {
      way.add(at);
      at = target;
    }
  }
  for (const each of way) ends.set(each, end);
  return end;
}
