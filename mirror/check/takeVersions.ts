import { findNodeAtLocation, type Node, parseTree } from 'jsonc-parser';
import semver from 'semver';
import { versionProblem } from '../../tree/names.ts';

/** A newer version of a plugin of the manifest. */
export interface NewVersion {
  readonly name: string;
  /** The highest version that the manifest names. */
  readonly wanted: string;
  /** The newer version's tag. */
  readonly latest: string;
}

export interface TakenVersion {
  readonly name: string;
  readonly version: string;
  /** The highest version that the manifest named before. */
  readonly was: string;
}

export interface LeftVersion {
  readonly name: string;
  readonly tag: string;
  /** In words, why it is not written. */
  readonly reason: string;
}

interface Edit {
  readonly at: number;
  readonly length: number;
  readonly text: string;
}

/**
 * Returns a manifest's text with these versions added. Older versions stay, because clients may still request them. Everything else stays
 * as it is written: order, line ends, indentation. A version is added next to the highest of the list: first or last. The manifest
 * must be valid.
 */
export function takeVersions(
  text: string,
  versions: readonly NewVersion[],
): { readonly text: string; readonly taken: readonly TakenVersion[]; readonly left: readonly LeftVersion[] } {
  const taken: TakenVersion[] = [];
  const left: LeftVersion[] = [];
  let result = text;
  for (const each of versions) {
    const plan = planFor(result, each);
    if (typeof plan === 'string') left.push({ name: each.name, tag: each.latest, reason: plan });
    else {
      // From the end on, so that the offsets of earlier edits stay true.
      for (const { at, length, text: added } of [...plan.edits].sort((a, b) => b.at - a.at))
        result = `${result.slice(0, at)}${added}${result.slice(at + length)}`;
      taken.push({ name: each.name, version: plan.version, was: each.wanted });
    }
  }
  return { text: result, taken, left };
}

function planFor(
  text: string,
  { name, wanted, latest }: NewVersion,
): { readonly version: string; readonly edits: readonly Edit[] } | string {
  const root = parseTree(text);
  const plugin = root && findNodeAtLocation(root, ['plugins', name]);
  if (plugin === undefined) return 'the manifest does not name the plugin';
  const details = plugin.type === 'object' ? plugin : undefined;
  const list = details === undefined ? plugin : member(details, 'versions');
  if (list === undefined) return 'it has no versions';
  const image = details && member(details, 'image');
  if (typeof image?.value === 'string' && /@sha(?:256|512):/.test(image.value))
    return 'its image is pinned by a digest, which is that of one version';
  const tags = details && member(details, 'tags');
  const tag = tags && member(tags, wanted);
  const named = namedAs(wanted, tag?.value as string | undefined, latest);
  if (named === undefined) return `its tags do not follow from its versions (${wanted} is ${String(tag?.value)})`;
  const unfit = versionProblem(named.version);
  if (unfit !== undefined) return `a version ${unfit}`;
  const known = [...written(list), ...keysOf(details && member(details, 'aliases'))];
  if (known.includes(named.version)) return `${named.version} is in the manifest already`;
  const edits = [addVersion(text, list, named.version)];
  if (named.tag !== undefined && tags !== undefined && tag !== undefined)
    edits.push(addMember(text, tags, tag, named.version, named.tag));
  return { version: named.version, edits };
}

/** The newer version's name and entry in `tags`, by the rule that the present one follows. */
function namedAs(
  wanted: string,
  tag: string | undefined,
  latest: string,
): { version: string; tag?: string } | undefined {
  if (tag === undefined) return { version: latest };
  const bare = tag.replace(/@sha(?:256|512):.*$/, '');
  for (const [prefix, version] of [
    ['v', latest.replace(/^v/, '')],
    ['', latest],
  ] as const) {
    if (bare === `${prefix}${wanted}`) return { version, tag: `${prefix}${version}` };
    if (bare.endsWith(`:${prefix}${wanted}`)) return { version, tag: `${bare.slice(0, -wanted.length)}${version}` };
  }
  return undefined;
}

function addVersion(text: string, list: Node, version: string): Edit {
  const value = JSON.stringify(version);
  const elements = list.children ?? [];
  const [first] = elements;
  const last = elements.at(-1);
  if (list.type === 'string' || first === undefined || last === undefined) {
    const old = text.slice(list.offset, list.offset + list.length);
    return { at: list.offset, length: list.length, text: `[${value}, ${old}]` };
  }
  const isDescending = elements.length === 1 || isHigher(String(first.value), String(last.value));
  const gap = gapBefore(text, first, list);
  return isDescending
    ? { at: first.offset, length: 0, text: `${value},${gap === '' ? ' ' : gap}` }
    : { at: last.offset + last.length, length: 0, text: `,${gap === '' ? ' ' : gap}${value}` };
}

/** Adds a member to an object next to an existing one, before it if that is the first. */
function addMember(text: string, object: Node, existing: Node, key: string, value: string): Edit {
  const property = object.children?.find(each => each.children?.[1] === existing) ?? existing;
  const isFirst = object.children?.[0] === property;
  const colon = property.children?.[0];
  const between = colon === undefined ? ': ' : text.slice(colon.offset + colon.length, existing.offset);
  const added = `${JSON.stringify(key)}${between}${JSON.stringify(value)}`;
  const first = object.children?.[0] ?? property;
  const gap = gapBefore(text, first, object).replace(/^ +$/, ' ') || ' ';
  return isFirst
    ? { at: property.offset, length: 0, text: `${added},${gap}` }
    : { at: property.offset + property.length, length: 0, text: `,${gap}${added}` };
}

/** The white space between an opening bracket and the first element. */
function gapBefore(text: string, first: Node, container: Node): string {
  return text.slice(container.offset + 1, first.offset);
}

function member(object: Node, key: string): Node | undefined {
  return object.children?.find(each => each.children?.[0]?.value === key)?.children?.[1];
}

function keysOf(object: Node | undefined): string[] {
  return (object?.children ?? []).map(each => String(each.children?.[0]?.value));
}

/** Without pins. */
function written(list: Node): string[] {
  const values = list.type === 'string' ? [list] : (list.children ?? []);
  return values.map(({ value }) => String(value).replace(/@sha(?:256|512):.*$/, ''));
}

function isHigher(one: string, other: string): boolean {
  const [a, b] = [one, other].map(text => semver.parse(text.replace(/@.*$/, '')));
  return a != null && b != null && semver.gt(a, b);
}
