import { applyEdits, type Edit, findNodeAtLocation, type Node, parseTree } from 'jsonc-parser';
import { nameProblem, type VersionId, versionProblem } from '../../tree/names.ts';
import type { WrittenManifest } from '../import/collect.ts';
import { onOneLine } from '../import/writeManifest.ts';
import { itemsOf, memberOf, membersOf, parseStrictJson } from '../json/strictJson.ts';
import { isFault, parseImage } from '../manifest/imageText.ts';
import { defaultRegistry } from '../manifest/wanted.ts';
import type { MissingVersion } from './coverage.ts';

/** The value of a plugin in manifest.json. */
export type WrittenPlugin = WrittenManifest['plugins'][string] | WrittenFile;

interface WrittenFile {
  readonly file: string;
  readonly versions: readonly string[];
  readonly aliases?: Readonly<Record<string, string>>;
}

interface Details {
  image?: string;
  file?: string;
  versions: string[];
  tags: Record<string, string>;
  aliases: Record<string, string>;
}

/** A plugin that versions are added to, with what is looked up for each of them. */
interface Growing {
  readonly details: Details;
  /** Versions without pins. */
  readonly known: Set<string>;
  /** The version that a tag stands for. */
  readonly byTag: Map<string, string>;
  /** Versions and aliases by their lower-case form. */
  readonly byLowerCase: Map<string, string>;
}

/** Returns the value with a further version, as `add` adds it. */
export function withVersion(plugin: WrittenPlugin | undefined, missing: MissingVersion): WrittenPlugin {
  const growing = growingOf(plugin);
  return add(growing, missing) ? shortest(growing.details, missing.name) : (plugin ?? []);
}

/**
 * Adds a version, unless the plugin has it; returns whether it did. The image's tag goes into `aliases` where the tag is a
 * version of the plugin already, else into `tags` where it differs from the version.
 */
function add(growing: Growing, { name, version, image }: MissingVersion): boolean {
  const { details, known, byTag, byLowerCase } = growing;
  const { versions, tags, aliases } = details;
  const own = details.image ?? `plugins/${name}`;
  const repository = image?.repository ?? own;
  const tag = image?.tag ?? (image?.digest === undefined ? version : undefined);
  // `TAG@DIGEST`, or the digest alone.
  const written = [tag, image?.digest].filter(part => part !== undefined).join('@');
  if (known.has(version) || Object.hasOwn(aliases, version)) return false;
  byLowerCase.set(version.toLowerCase(), version);
  // A local module is the plugin, whatever version is requested of it.
  const [first] = known;
  const real = details.file === undefined ? undefined : first;
  const tagged = repository === own ? byTag.get(written) : undefined;
  if (real !== undefined) aliases[version] = real;
  else if (tagged !== undefined) aliases[version] = tagged;
  else {
    if (versions.length === 0 && repository !== own) details.image = repository;
    versions.push(version);
    known.add(version);
    if (repository !== (details.image ?? own))
      tags[version] = `${repository}${tag === undefined ? '@' : ':'}${written}`;
    else if (written !== version) tags[version] = written;
    const by = tags[version] ?? version;
    if (!byTag.has(by)) byTag.set(by, version);
  }
  return true;
}

function growingOf(plugin: WrittenPlugin | undefined): Growing {
  const details = detailsOf(plugin);
  const known = details.versions.map(withoutPin);
  const names = [...known, ...Object.keys(details.aliases)];
  return {
    details,
    known: new Set(known),
    // The first of several versions with one tag.
    byTag: new Map(known.map(version => [details.tags[version] ?? version, version] as const).reverse()),
    byLowerCase: new Map(names.map(name => [name.toLowerCase(), name])),
  };
}

function detailsOf(plugin: WrittenPlugin | undefined): Details {
  if (plugin === undefined) return { versions: [], tags: {}, aliases: {} };
  if (typeof plugin === 'string') return { versions: [plugin], tags: {}, aliases: {} };
  if (!('versions' in plugin)) return { versions: [...plugin], tags: {}, aliases: {} };
  const { versions, aliases, ...rest } = plugin;
  const tags = 'tags' in plugin ? { ...plugin.tags } : {};
  return { ...rest, versions: [...versions], tags, aliases: { ...aliases } };
}

/** Keys that the manifest's own format has in this order. */
function shortest({ versions, tags, aliases, image, ...rest }: Details, name: string): WrittenPlugin {
  const hasTags = Object.keys(tags).length > 0;
  const hasAliases = Object.keys(aliases).length > 0;
  const ownImage = image === undefined || image === `plugins/${name}`;
  const [only] = versions;
  if (ownImage && !hasTags && !hasAliases && rest.file === undefined && only !== undefined)
    return versions.length === 1 ? only : versions;
  return {
    ...(image === undefined ? {} : { image }),
    ...rest,
    versions,
    ...(hasTags ? { tags } : {}),
    ...(hasAliases ? { aliases } : {}),
  };
}

/**
 * Returns the new value of every plugin that lacks one of the versions, by name. Names, versions and images that a manifest
 * refuses are left out.
 */
export function valuesFor(
  missing: readonly MissingVersion[],
  plugins: Readonly<Record<string, WrittenPlugin>>,
): Map<string, WrittenPlugin> {
  const values = new Map<string, Growing>();
  const changed = new Set<string>();
  const names = new Map(Object.keys(plugins).map(name => [name.toLowerCase(), name]));
  // Versions that are tagged as they are called come first, so that others can be aliases of them.
  const plainFirst = [...missing].sort((one, other) => Number(isRenamed(one)) - Number(isRenamed(other)));
  for (const each of plainFirst) {
    const { name } = each;
    const growing = values.get(name) ?? growingOf(Object.hasOwn(plugins, name) ? plugins[name] : undefined);
    values.set(name, growing);
    if ((names.get(name.toLowerCase()) ?? name) !== name || !isAccepted(each, growing) || !add(growing, each)) continue;
    changed.add(name);
    names.set(name.toLowerCase(), name);
  }
  return new Map([...changed].map(name => [name, shortest((values.get(name) as Growing).details, name)]));
}

/** Whether the manifest with this version is valid. A version that differs from another by case alone makes it invalid. */
function isAccepted({ name, version, image }: MissingVersion, growing: Growing): boolean {
  if (nameProblem(name) !== undefined || versionProblem(version) !== undefined) return false;
  if ((growing.byLowerCase.get(version.toLowerCase()) ?? version) !== version) return false;
  const { file, image: own = `plugins/${name}` } = growing.details;
  const { repository = own, tag = version } = image ?? {};
  return file !== undefined || !isFault(parseImage(`${repository}:${tag}`, anyRegistry));
}

const anyRegistry = { registry: defaultRegistry, prefix: '' };

function withoutPin(version: string): string {
  return version.split('@', 1)[0] ?? '';
}

function isRenamed({ version, image }: MissingVersion): boolean {
  return image !== undefined && image.tag !== version;
}

/** `"basic-auth": { "versions": ["2.0.0"], "aliases": { "1.0.0": "2.0.0" } }`, as it is in manifest.json. */
export function manifestLine(name: string, value: WrittenPlugin): string {
  return `${JSON.stringify(name)}: ${onOneLine(value)}`;
}

/**
 * Returns the text of a manifest with these values, each on one line. The rest of the text is unchanged, white space included.
 * The manifest must be valid.
 */
export function withValues(text: string, values: ReadonlyMap<string, WrittenPlugin>): string {
  const root = parseTree(text);
  const plugins = root && findNodeAtLocation(root, ['plugins']);
  if (plugins?.type !== 'object') return text;
  const members = new Map(plugins.children?.map(member => [String(member.children?.[0]?.value), member]));
  const edits: Edit[] = [];
  const added: string[] = [];
  for (const [name, value] of values) {
    const written = members.get(name)?.children?.[1];
    if (written === undefined) added.push(manifestLine(name, value));
    else edits.push({ offset: written.offset, length: written.length, content: onOneLine(value) });
  }
  if (added.length > 0) edits.push(insertion(text, plugins, added));
  return applyEdits(text, edits);
}

/** Returns the edit that puts lines at the end of an object, indented as its last member is. */
function insertion(text: string, object: Node, lines: readonly string[]): Edit {
  const last = object.children?.at(-1);
  if (last === undefined) {
    const inside = object.offset + 1;
    const space = /^\s*/.exec(text.slice(inside))?.[0].length ?? 0;
    return { offset: inside, length: space, content: `\n    ${lines.join(',\n    ')}\n  ` };
  }
  const indent = /\n([ \t]*)$/.exec(text.slice(0, last.offset))?.[1];
  const gap = indent === undefined ? ' ' : `\n${indent}`;
  return { offset: last.offset + last.length, length: 0, content: lines.map(line => `,${gap}${line}`).join('') };
}

/** A place in a text. Both count from 1. */
interface Position {
  readonly line: number;
  readonly column: number;
}

/**
 * Returns a function that finds where a manifest's text names a version or an alias, else the plugin; undefined if it does not
 * name the plugin.
 */
export async function positionsIn(text: string): Promise<(id: Partial<VersionId>) => Position | undefined> {
  const { root, spot } = await parseStrictJson(text);
  const plugins = memberOf(root, 'plugins')?.node;
  const nodesOf = new Map<string, ReadonlyMap<string, Node>>();
  return ({ name = '', version = '' }) => {
    const plugin = memberOf(plugins, name);
    if (plugin === undefined) return undefined;
    const nodes = nodesOf.get(name) ?? namedIn(plugin.node);
    nodesOf.set(name, nodes);
    return spot((nodes.get(version) ?? plugin.keyNode).offset);
  };
}

/** Returns where a plugin's versions and aliases are named. */
function namedIn(plugin: Node): Map<string, Node> {
  const versions = plugin.type === 'object' ? memberOf(plugin, 'versions')?.node : plugin;
  return new Map([
    ...membersOf(memberOf(plugin, 'aliases')?.node).map(({ key, keyNode }) => [key, keyNode] as const),
    ...itemsOf(versions).map(node => [withoutPin(String(node.value)), node] as const),
  ]);
}
