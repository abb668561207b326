import { statSync } from 'node:fs';
import type { Node } from 'jsonc-parser';
import { isDigest } from '../../registry/reference.ts';
import { nameProblem } from '../../tree/names.ts';
import { formatPath, type Path, quoted } from '../json/problem.ts';
import { type Member, memberOf, membersOf, repeatedMembers } from '../json/strictJson.ts';
import { readAliases } from './aliases.ts';
import { imageSources } from './images.ts';
import {
  nameRule,
  type Reading,
  readVersions,
  reportCaseVariants,
  type WrittenVersion,
  writtenVersions,
} from './versions.ts';
import type { VersionSource, WantedAlias, WantedVersion } from './wanted.ts';

interface Plugins {
  readonly versions: readonly WantedVersion[];
  readonly aliases: readonly WantedAlias[];
}

/** Twice a mirror of a thousand plugins with five versions each. Every later step takes time for each of them. */
export const MOST_VERSIONS = 10_000;

/** Reads `plugins`. Values of a wrong type are skipped: the schema reports them. */
export async function readPlugins(plugins: Node, reading: Reading): Promise<Plugins> {
  const versions: WantedVersion[] = [];
  const aliases: WantedAlias[] = [];
  const members = membersOf(plugins).filter(member => member.key !== '__proto__');
  if (members.length === 0 && plugins.type === 'object' && membersOf(plugins).length === 0)
    reading.report(['plugins'], plugins, { found: 'no plugin', expected: 'at least one' });
  reportCaseVariants(['plugins'], members, 'name', reading);
  const count = members.reduce((sum, { node, key }) => sum + writtenCount(node, ['plugins', key]), 0);
  if (count > MOST_VERSIONS) {
    reading.report(['plugins'], plugins, {
      found: `${count} versions and aliases`,
      expected: `at most ${MOST_VERSIONS}`,
      hint: 'Divide them into several manifests and trees.',
    });
    return { versions, aliases };
  }
  for (const member of members) {
    await reading.rest();
    const unfit = nameProblem(member.key);
    if (unfit !== undefined)
      reading.report(['plugins', member.key], member.keyNode, {
        found: `the name ${quoted(member.key)}, which ${unfit}`,
        expected: nameRule,
      });
    const plugin = await readPlugin(member, unfit === undefined, reading);
    for (const version of plugin.versions) versions.push(version);
    for (const alias of plugin.aliases) aliases.push(alias);
  }
  for (const each of repeatedMembers(plugins))
    if (nameProblem(each.key) === undefined) await readPlugin(each, true, reading);
  return { versions, aliases };
}

function writtenCount(node: Node, path: Path): number {
  return writtenVersions(node, path).length + membersOf(memberOf(node, 'aliases')?.node).length;
}

async function readPlugin(member: Member, nameFits: boolean, reading: Reading): Promise<Plugins> {
  const path: Path = ['plugins', member.key];
  const { node } = member;
  const written = writtenVersions(node, path);
  const known = readVersions(written, reading);
  const file = memberOf(node, 'file');
  const sources = file
    ? fileSources(file, known, node, path, reading)
    : await imageSources(member.key, nameFits, known, node, path, reading);
  const aliases = memberOf(node, 'aliases');
  // Without versions every alias would be reported.
  const found =
    aliases && written.length > 0
      ? (await readAliases([...path, 'aliases'], aliases.node, known, reading)).map(alias => ({
          name: member.key,
          ...alias,
        }))
      : [];
  if (aliases) reportCaseVariants([...path, 'aliases'], membersOf(aliases.node), 'version', reading, known);
  const versions = known.flatMap(each => {
    const source = sources.get(each.version);
    return source === undefined
      ? []
      : [{ name: member.key, version: each.version, path: formatPath(each.path), source }];
  });
  return { versions, aliases: found };
}

function fileSources(
  file: Member,
  known: readonly WrittenVersion[],
  node: Node,
  path: Path,
  reading: Reading,
): Map<string, VersionSource> {
  for (const key of ['image', 'tags']) {
    const other = memberOf(node, key);
    if (other)
      reading.report([...path, key], other.keyNode, {
        found: `"${key}" together with "file"`,
        expected: 'either a local file or an image',
      });
  }
  for (const each of known)
    if (each.pin !== undefined && isDigest(each.pin))
      reading.report(each.path, each.node, {
        found: `a pin, @${each.pin}`,
        expected: 'a version without a pin: a local file has no image digest',
        hint: 'manifest.lock.json records the sha256 of local files.',
      });
  const sources = new Map<string, VersionSource>();
  if (file.node.type !== 'string' || file.node.value === '') return sources;
  const written = String(file.node.value);
  const absolute = reading.locate(written);
  const missing = fileProblem(absolute);
  if (missing !== undefined)
    reading.report([...path, 'file'], file.node, {
      found: `${quoted(written)}, ${missing}`,
      expected: 'a Wasm module, its path relative to the folder of the manifest',
      hint: `Looked for ${quoted(absolute)}.`,
    });
  for (const each of known) sources.set(each.version, { kind: 'file', path: absolute, written });
  return sources;
}

function fileProblem(path: string): string | undefined {
  try {
    return statSync(path).isFile() ? undefined : 'which is not a file';
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    return code === 'ENOENT' || code === 'ENOTDIR' ? 'which does not exist' : 'which cannot be read';
  }
}
