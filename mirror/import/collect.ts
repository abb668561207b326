import { addTo } from '../../base/groups.ts';
import { isHost, type Reference } from '../../registry/reference.ts';
import { nameProblem, versionProblem } from '../../tree/names.ts';
import { quoted } from '../json/problem.ts';

/** One name and version of an imported list. */
export interface ImportedEntry {
  readonly name: string;
  readonly version: string;
  readonly reference: Reference;
  /** Counts from 1. */
  readonly line: number;
  /** A further version path to the same bytes. */
  readonly alias?: string;
}

export interface ImportNote {
  /** Counts from 1; 0 for the whole list. */
  readonly line: number;
  readonly text: string;
}

export interface ImportedEntries {
  readonly entries: readonly ImportedEntry[];
  readonly notes: readonly ImportNote[];
  readonly lost: number;
}

/** manifest.json as written by import. */
export interface WrittenManifest {
  readonly $schema: string;
  readonly registry: string;
  readonly plugins: Readonly<Record<string, WrittenPlugin>>;
}

type WrittenPlugin =
  | string
  | readonly string[]
  | {
      readonly image?: string;
      readonly versions: readonly string[];
      readonly tags?: Readonly<Record<string, string>>;
      readonly aliases?: Readonly<Record<string, string>>;
    };

interface Collected {
  /** Undefined if no entry was taken. */
  readonly manifest: WrittenManifest | undefined;
  readonly notes: readonly ImportNote[];
  readonly lost: number;
}

/** Returns a manifest of the entries, as short as its defaults allow. */
export function collectManifest(entries: readonly ImportedEntry[]): Collected {
  const notes: ImportNote[] = [];
  const { kept, lost } = keepValid(entries, notes);
  if (kept.length === 0) return { manifest: undefined, notes, lost };
  const registry = mostCommon(kept.map(prefixOf));
  const byName = new Map<string, ImportedEntry[]>();
  for (const entry of kept) addTo(byName, entry.name, entry);
  const plugins = [...byName].map(([name, group]) => [name, writePlugin(name, group, registry)] as const);
  return {
    manifest: { $schema: './manifest.schema.json', registry, plugins: Object.fromEntries(plugins) },
    notes,
    lost,
  };
}

/** Keeps the last of several entries for one path, as Higress' plugin server does. No digest is lost by that. */
function keepValid(entries: readonly ImportedEntry[], notes: ImportNote[]): { kept: ImportedEntry[]; lost: number } {
  const kept = new Map<string, ImportedEntry>();
  const names = new Map<string, string>();
  let lost = 0;
  const lose = (line: number, text: string): void => {
    lost++;
    notes.push({ line, text });
  };
  /** The later line gets the path; the earlier one keeps the path of its digest, if it has a digest. */
  const displace = (before: ImportedEntry, line: number): void => {
    const { name, version, alias } = before;
    const shown = `${quoted(name)} ${quoted(version)}`;
    const why = `line ${line} has another image for that path`;
    if (alias === undefined) {
      lose(before.line, `${shown} was not taken: ${why}`);
      return;
    }
    notes.push({ line: before.line, text: `${shown} was taken under its digest alone: ${why}` });
    const path = `${name}/${alias}`.toLowerCase();
    if (!kept.has(path)) kept.set(path, { name, version: alias, reference: before.reference, line: before.line });
  };
  for (const entry of entries) {
    const { name, version, line } = entry;
    const shown = `${quoted(name)} ${quoted(version)}`;
    const unfit = name === '__proto__' ? 'is reserved in JavaScript' : nameProblem(name);
    const unfitVersion = versionProblem(version);
    const path = `${name}/${version}`.toLowerCase();
    const variant = names.get(name.toLowerCase());
    const before = kept.get(path);
    if (unfit !== undefined) lose(line, `${shown} was not taken: the name ${unfit}`);
    else if (unfitVersion !== undefined || version.includes('@'))
      lose(line, `${shown} was not taken: the version ${unfitVersion ?? 'holds an "@"'}`);
    else if (variant !== undefined && variant !== name)
      lose(line, `${shown} was not taken: it differs from ${quoted(variant)} only by case`);
    else {
      if (before?.version === version) {
        const merged = mergeEqual(before, entry);
        if (merged !== undefined) {
          notes.push(merged.note);
          kept.set(path, withValidAlias(merged.kept, notes));
          continue;
        }
      }
      if (before !== undefined) displace(before, line);
      names.set(name.toLowerCase(), name);
      kept.delete(path);
      kept.set(path, withValidAlias(entry, notes));
    }
  }
  return { kept: [...kept.values()].sort((one, other) => one.line - other.line), lost };
}

/** Returns the more exact of two entries with the same path and bytes; undefined if their bytes may differ. */
function mergeEqual(
  before: ImportedEntry,
  entry: ImportedEntry,
): { readonly kept: ImportedEntry; readonly note: ImportNote } | undefined {
  const [one, other] = [before.reference, entry.reference];
  const shown = `${quoted(entry.name)} ${quoted(entry.version)}`;
  const pin = one.digest ?? other.digest;
  const sameTag = one.registry === other.registry && one.repository === other.repository && one.tag === other.tag;
  if (sameTag && one.digest === other.digest)
    return { kept: before, note: { line: entry.line, text: `${shown} is in line ${before.line} already` } };
  if (one.digest === other.digest && pin !== undefined)
    return { kept: entry, note: { line: before.line, text: `${shown} has the same digest in line ${entry.line}` } };
  if (!sameTag || (one.digest !== undefined && other.digest !== undefined)) return undefined;
  const [pinned, bare] = one.digest === undefined ? [entry, before] : [before, entry];
  return { kept: pinned, note: { line: bare.line, text: `${shown} is taken with the digest of line ${pinned.line}` } };
}

/** A digest too long for a path stays a pin; the version is all that leads to it. */
function withValidAlias(entry: ImportedEntry, notes: ImportNote[]): ImportedEntry {
  const { alias, ...rest } = entry;
  const unfit = alias === undefined ? undefined : versionProblem(alias);
  if (alias === undefined || unfit === undefined) return entry;
  const shown = `${quoted(entry.name)} ${quoted(entry.version)}`;
  notes.push({ line: entry.line, text: `${shown} keeps its digest as a pin, not as a path: the digest ${unfit}` });
  return rest;
}

/** `HOST[/PREFIX]` such that the default image, plugins/NAME, would be this one; else the host alone. */
function prefixOf({ name, reference }: ImportedEntry): string {
  const suffix = `/plugins/${name}`;
  const { registry, repository } = reference;
  return repository.endsWith(suffix) ? `${registry}/${repository.slice(0, -suffix.length)}` : registry;
}

function mostCommon(texts: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  let best = texts[0] ?? '';
  for (const [text, count] of counts) if (count > (counts.get(best) ?? 0)) best = text;
  return best;
}

function writePlugin(name: string, entries: readonly ImportedEntry[], registry: string): WrittenPlugin {
  const images = entries.map(entry => writeImage(entry.reference, registry));
  const own = `plugins/${name}`;
  const image = images.includes(own) ? own : mostCommon(images);
  const versions: string[] = [];
  const tags: [string, string][] = [];
  const aliases: [string, string][] = [];
  const taken = new Set(entries.map(entry => entry.version.toLowerCase()));
  for (const [index, { version, reference, alias }] of entries.entries()) {
    const { tag, digest } = reference;
    const pin = digest === undefined ? '' : `@${digest}`;
    const elsewhere = images[index] !== image;
    const plain = !elsewhere && (tag === version || (tag === undefined && digest === version));
    versions.push(plain && tag !== undefined ? `${version}${pin}` : version);
    if (!plain) {
      const where = elsewhere ? withSlash(images[index] ?? '', reference) : '';
      tags.push([version, tag === undefined ? `${where}${pin}` : `${where}${where && ':'}${tag}${pin}`]);
    }
    if (alias !== undefined && !taken.has(alias)) {
      taken.add(alias);
      aliases.push([alias, version]);
    }
  }
  const [only, ...more] = versions;
  if (image === own && tags.length === 0 && aliases.length === 0 && only !== undefined)
    return more.length === 0 ? only : versions;
  return {
    ...(image === own ? {} : { image }),
    versions,
    ...(tags.length === 0 ? {} : { tags: Object.fromEntries(tags) }),
    ...(aliases.length === 0 ? {} : { aliases: Object.fromEntries(aliases) }),
  };
}

/** Returns the shortest text that the manifest reads as this image. */
function writeImage({ registry, repository }: Reference, prefix: string): string {
  const hasPrefix = `${registry}/${repository}`.startsWith(`${prefix}/`);
  const short = hasPrefix ? `${registry}/${repository}`.slice(prefix.length + 1) : undefined;
  if (short !== undefined && !(short.includes('/') && isHost(short.slice(0, short.indexOf('/'))))) return short;
  return wholeImage({ registry, repository });
}

function wholeImage({ registry, repository }: Reference): string {
  return `${isHost(registry) ? '' : 'oci://'}${registry}/${repository}`;
}

/** In `tags` a text with a slash is an image, one without is a tag. */
function withSlash(image: string, reference: Reference): string {
  return image.includes('/') ? image : wholeImage(reference);
}
