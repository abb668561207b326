import type { Node } from 'jsonc-parser';
import { nearest } from '../../base/nearest.ts';
import { versionProblem } from '../../tree/names.ts';
import { formatPlace, type Path, quoted } from '../json/problem.ts';
import { type Member, membersOf } from '../json/strictJson.ts';
import { listed, type Reading, versionRule, type WrittenVersion } from './versions.ts';

export interface ResolvedAlias {
  readonly version: string;
  /** The real version at the end of the chain. */
  readonly target: string;
  readonly place: string;
}

/** Follows every alias to the real version whose bytes it publishes. */
export function readAliases(
  path: Path,
  aliases: Node,
  known: readonly WrittenVersion[],
  reading: Reading,
): ResolvedAlias[] {
  const versions = new Set(known.map(each => each.version));
  const members = membersOf(aliases).filter(member => member.key !== '__proto__' && member.node.type === 'string');
  const targets = new Map(members.map(member => [member.key, String(member.node.value)]));
  const ends = new Map<string, End>();
  const told = new Set<readonly string[]>();
  const resolved: ResolvedAlias[] = [];
  for (const member of members) {
    const at = [...path, member.key];
    const fits = judge(member, at, versions, targets, reading);
    const end = follow(member.key, versions, targets, ends);
    // Told once per circle; an alias that only leads into one is mended with it.
    if (end.kind === 'circle' && !told.has(end.circle) && end.circle.includes(member.key)) {
      told.add(end.circle);
      reading.report(at, member.node, {
        found: `a circle, ${[...end.circle.slice(0, 8), member.key].map(each => quoted(each)).join(' → ')}`,
        expected: `an alias of one of the versions: ${listed(versions)}`,
      });
    }
    if (fits && end.kind === 'version')
      resolved.push({ version: member.key, target: end.version, place: formatPlace(at) });
  }
  return resolved;
}

/** What can be said of one alias without following it. */
function judge(
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
      expected: 'an alias that shadows no version',
      hint: 'Take it out here or among the versions.',
    });
  const target = String(node.value);
  const leads = versions.has(target) || targets.has(target);
  if (!leads) {
    const near = nearest(target, [...versions]);
    const pinned = /@sha(256|512):/.test(target);
    const hint = pinned ? 'Leave the pin out; it belongs to the version.' : near && `Did you mean "${near}"?`;
    reading.report(at, node, {
      found: `an alias of ${quoted(target)}, which is not there`,
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

/** Every alias on the way is remembered with its end, so that long chains are walked once. */
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
    // The first step is the alias itself, even where it shadows a version.
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
