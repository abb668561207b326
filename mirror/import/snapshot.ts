import type { Node } from 'jsonc-parser';
import { isDigest, parseReference, type Reference } from '../../registry/reference.ts';
import { nameProblem } from '../../tree/names.ts';
import { type Problem, quoted } from '../json/problem.ts';
import { describeNode, itemsOf, memberOf, membersOf, parseStrictJson } from '../json/strictJson.ts';
import type { ImportedEntries, ImportedEntry, ImportNote } from './collect.ts';
import { ImportInvalid } from './errors.ts';

/** Reads Higress' JSON snapshot or its unmanaged lock. @throws ImportInvalid */
export async function listFromJson(text: string, file: string): Promise<ImportedEntries> {
  const document = await parseStrictJson(text);
  const { root } = document;
  if (root === undefined || document.problems.length > 0) throw new ImportInvalid(file, document.problems);
  const refuse = (place: string, node: Node | undefined, expected: string, hint?: string): never => {
    const found = node === undefined ? 'nothing' : describeNode(node, text);
    const problem: Problem = { place, found, expected, ...document.spot((node ?? root).offset) };
    throw new ImportInvalid(file, [problem], hint);
  };
  const plugins = memberOf(root, 'plugins')?.node;
  const reading: JsonReading = { entries: [], notes: [], lost: 0, lineOf: node => document.spot(node.offset).line };
  const isSnapshot = plugins?.type === 'array';
  const values = membersOf(plugins).map(member => member.node);
  if (!isSnapshot && values.some(value => memberOf(value, 'servedVersion') === undefined))
    if (values.some(value => value.type !== 'object' || memberOf(value, 'versions')))
      refuse('plugins', plugins, 'a list of Higress’ plugin server', 'This looks like a manifest already.');
  const schemaVersion = memberOf(root, 'schemaVersion')?.node;
  if (schemaVersion?.value !== 1)
    refuse(
      'schemaVersion',
      schemaVersion,
      '1',
      schemaVersion?.value === 0
        ? 'This is Higress’ placeholder; the snapshot itself is made when its image is built.'
        : undefined,
    );
  if (isSnapshot) for (const item of itemsOf(plugins)) readSnapshotEntry(item, reading);
  else if (plugins?.type === 'object')
    for (const member of membersOf(plugins)) readUnmanagedEntry(member.key, member.node, reading);
  else refuse('plugins', plugins, 'a list or an object of plugins');
  return reading;
}

interface JsonReading extends ImportedEntries {
  readonly entries: ImportedEntry[];
  readonly notes: ImportNote[];
  lost: number;
  lineOf(node: Node): number;
}

/** `consumers.pluginServer` has the names under which an image is served; other images keep their own name. */
function readSnapshotEntry(item: Node, reading: JsonReading): void {
  const why = takeSnapshotEntry(item, reading);
  if (why === undefined) return;
  const id = textAt(item, 'logicalId') ?? textAt(item, 'image') ?? '';
  reading.lost++;
  reading.notes.push({ line: reading.lineOf(item), text: `${quoted(id)} was not taken: ${why}` });
}

/** Returns why the entry could not be taken, or undefined. */
function takeSnapshotEntry(item: Node, reading: JsonReading): string | undefined {
  const line = reading.lineOf(item);
  const id = textAt(item, 'logicalId') ?? textAt(item, 'image') ?? '';
  const version = textAt(item, 'version');
  const digest = textAt(item, 'digest');
  const ociRef = textAt(item, 'ociRef');
  const image = textAt(item, 'image');
  const written = ociRef ?? image;
  if (written === undefined) return 'it has no ociRef';
  const reference = pinnedReference(written, version, digest);
  if (typeof reference === 'string') return reference;
  const ownVersion = version ?? reference.tag ?? reference.digest;
  if (ownVersion === undefined) return 'it has no version';
  if (reference.digest === undefined)
    reading.notes.push({ line, text: `${quoted(id)} has no digest; it is taken by its tag` });
  const server = memberOf(memberOf(item, 'consumers')?.node, 'pluginServer')?.node;
  const names = servedNames(server, ownVersion);
  if (names.length === 0) {
    const own = nameProblem(id) === undefined ? id : (reference.repository.split('/').at(-1) ?? id);
    reading.notes.push({
      line,
      text: `${quoted(id)} is not served by Higress’ plugin server (no consumers.pluginServer); taken as ${quoted(own)}`,
    });
    names.push(own);
  }
  for (const name of names) reading.entries.push({ name, version: ownVersion, reference, line });
  return undefined;
}

function servedNames(server: Node | undefined, version: string): string[] {
  const aliases = itemsOf(memberOf(server, 'aliases')?.node).flatMap(each =>
    each.type === 'string' ? [String(each.value)] : [],
  );
  const path = textAt(server, 'httpPath')
    ?.replace(/^\/?(?:plugins\/)?/, '')
    .replace(/\/plugin\.wasm$/, '')
    .replace(/\/$/, '');
  const folder = path?.endsWith(`/${version}`) ? path.slice(0, -version.length - 1) : path;
  const names = [folder, textAt(server, 'inventoryKey'), ...aliases].filter(name => name !== undefined && name !== '');
  return [...new Set(names as string[])];
}

/** `servedPath`/`servedVersion` is the path under which `repository`:`tag`@`digest` is served. */
function readUnmanagedEntry(key: string, node: Node, reading: JsonReading): void {
  const line = reading.lineOf(node);
  const repository = textAt(node, 'repository');
  const tag = textAt(node, 'tag');
  const reference =
    repository === undefined ? 'it has no repository' : pinnedReference(repository, tag, textAt(node, 'digest'));
  const version = textAt(node, 'servedVersion') ?? tag;
  if (typeof reference === 'string' || version === undefined) {
    reading.lost++;
    const why = typeof reference === 'string' ? reference : 'it has no servedVersion';
    reading.notes.push({ line, text: `${quoted(key)} was not taken: ${why}` });
    return;
  }
  if (reference.digest === undefined)
    reading.notes.push({ line, text: `${quoted(key)} has no digest; it is taken by its tag` });
  reading.entries.push({ name: textAt(node, 'servedPath') ?? key, version, reference, line });
}

/** Returns the reference with its digest, or why there is none. */
function pinnedReference(written: string, tag: string | undefined, digest: string | undefined): Reference | string {
  if (digest !== undefined && !isDigest(digest)) return `its digest is ${quoted(digest)}`;
  const attempts = [written, `${written}:${tag}`, `${written}@${digest}`];
  for (const attempt of attempts) {
    const reference = parsed(attempt);
    if (reference === undefined) continue;
    if (digest !== undefined && reference.digest !== undefined && reference.digest !== digest)
      return `its reference has a digest other than ${digest}`;
    return { ...reference, ...(digest === undefined ? {} : { digest }) };
  }
  return `${quoted(written)} is not a reference with a registry`;
}

function parsed(text: string): Reference | undefined {
  try {
    return parseReference(text);
  } catch {
    return undefined;
  }
}

function textAt(node: Node | undefined, key: string): string | undefined {
  const value = memberOf(node, key)?.node;
  return value?.type === 'string' && value.value !== '' ? String(value.value) : undefined;
}
