import { dirname, resolve } from 'node:path';
import type { Node } from 'jsonc-parser';
import { type Reference, ReferenceInvalid } from '../../registry/reference.ts';
import { formatPlace, type Problem, quoted } from '../json/problem.ts';
import { schemaProblems } from '../json/schemaProblems.ts';
import { itemsOf, memberOf, membersOf, parseStrictJson } from '../json/strictJson.ts';
import { readTextFile } from '../json/textFile.ts';
import { ManifestInvalid, ManifestMissing, ManifestUnreadable } from './errors.ts';
import { isFault, parseRegistryPlace, type RegistryPlace } from './imageText.ts';
import { readPlugins } from './plugins.ts';
import { manifestKeysAt, manifestSchema } from './schema.ts';
import { readSignatures } from './signatures.ts';
import type { Reading } from './versions.ts';
import type { PluginManifest } from './wanted.ts';
import { defaultRegistry } from './wanted.ts';

export type { PluginManifest } from './wanted.ts';

const maxSizeBytes = 8 * 1024 * 1024;

/**
 * Reads the user's list.
 * @throws ManifestMissing, ManifestUnreadable, ManifestInvalid (with everything that is wrong in it)
 */
export async function readPluginManifest(path: string): Promise<PluginManifest> {
  const read = await readTextFile(path, maxSizeBytes);
  if ('text' in read) return parsePluginManifest(read.text, { file: path });
  if (read.kind === 'missing') throw new ManifestMissing(path, read.cause);
  if (read.kind === 'unreadable') throw new ManifestUnreadable(path, read.found, read.cause);
  if (read.kind === 'too large')
    throw new ManifestInvalid(path, [
      { place: '', found: 'more than 8 MiB', expected: 'a list of plugins', hint: 'Is it the right file?' },
    ]);
  throw new ManifestInvalid(path, [
    { place: '', found: read.found, expected: 'JSON in UTF-8', hint: 'Save the file as UTF-8.' },
  ]);
}

/** Parses the text of a manifest. `file` is where it lies: local modules are relative to its folder. @throws ManifestInvalid */
export async function parsePluginManifest(text: string, { file }: { readonly file: string }): Promise<PluginManifest> {
  const document = parseStrictJson(text);
  const { root } = document;
  const problems: Problem[] = [
    ...document.problems,
    ...schemaProblems(manifestSchema, document, { source: text, keysAt: manifestKeysAt }),
  ];
  const absolute = resolve(file);
  const report: Reading['report'] = (path, node, fault) =>
    void problems.push({ place: formatPlace(path), ...fault, ...document.spot(node.offset) });

  const registryNode = memberOf(root, 'registry')?.node;
  const registry = registryNode?.type === 'string' ? String(registryNode.value) : defaultRegistry;
  const parsed = parseRegistryPlace(registry);
  if (isFault(parsed) && registryNode) report(['registry'], registryNode, parsed);
  const base = isFault(parsed) ? placeOf(defaultRegistry) : parsed;

  const plugins = memberOf(root, 'plugins')?.node;
  const reading: Reading = { folder: dirname(absolute), base, report };
  const read = plugins ? readPlugins(plugins, reading) : { versions: [], aliases: [] };
  const versions = readSignatures(memberOf(root, 'signatures')?.node, read.versions, reading);
  const mirrors = readMirrors(memberOf(root, 'mirrors')?.node, report);
  if (problems.length > 0) throw new ManifestInvalid(file, inOrder(problems));
  return { file: absolute, registry: formatRegistryPlace(base), ...read, versions, mirrors };
}

/**
 * The manifest with every image taken from `HOST[/PREFIX]` instead: the host is replaced and the prefix put before the
 * repository. A prefix of the manifest's own `registry` gives way, as this place stands for that one. @throws ReferenceInvalid
 */
export function withRegistry(manifest: PluginManifest, registry: string): PluginManifest {
  const place = placeOf(registry);
  const own = placeOf(manifest.registry);
  const rewrite = (reference: Reference): Reference => {
    const inOwn = own.prefix !== '' && reference.registry === own.registry;
    const bare =
      inOwn && reference.repository.startsWith(`${own.prefix}/`)
        ? reference.repository.slice(own.prefix.length + 1)
        : reference.repository;
    const repository = place.prefix === '' ? bare : `${place.prefix}/${bare}`;
    return { ...reference, registry: place.registry, repository };
  };
  return {
    ...manifest,
    registry: formatRegistryPlace(place),
    versions: manifest.versions.map(version =>
      version.source.kind === 'image'
        ? { ...version, source: { kind: 'image', reference: rewrite(version.source.reference) } }
        : version,
    ),
  };
}

function placeOf(text: string): RegistryPlace {
  const place = parseRegistryPlace(text);
  if (!isFault(place)) return place;
  throw new ReferenceInvalid(`${place.found} is not a registry`, {
    subject: place.found,
    expected: place.expected,
    found: place.found,
    hint: place.hint ?? 'Write it as HOST or HOST/PREFIX, such as harbor.example.com/higress.',
  });
}

function formatRegistryPlace({ registry, prefix }: RegistryPlace): string {
  return prefix === '' ? registry : `${registry}/${prefix}`;
}

function readMirrors(node: Node | undefined, report: Reading['report']): Readonly<Record<string, readonly string[]>> {
  const mirrors: [string, string[]][] = [];
  for (const member of membersOf(node)) {
    if (member.key === '__proto__') continue;
    const host = parseRegistryPlace(member.key);
    if (isFault(host)) report(['mirrors', member.key], member.keyNode, host);
    else if (host.prefix !== '')
      report(['mirrors', member.key], member.keyNode, {
        found: quoted(member.key),
        expected: 'a registry’s HOST[:PORT] alone',
      });
    const places: string[] = [];
    for (const [index, item] of itemsOf(member.node).entries()) {
      if (item.type !== 'string') continue;
      const place = parseRegistryPlace(String(item.value));
      if (isFault(place)) report(['mirrors', member.key, index], item, place);
      else places.push(formatRegistryPlace(place));
    }
    mirrors.push([member.key, places]);
  }
  return Object.fromEntries(mirrors);
}

/** In the order of the text, as a user mends them. */
function inOrder(problems: readonly Problem[]): Problem[] {
  return [...problems].sort(
    (one, other) => (one.line ?? 0) - (other.line ?? 0) || (one.column ?? 0) - (other.column ?? 0),
  );
}
