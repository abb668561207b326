import { resolve } from 'node:path';
import type { Node } from 'jsonc-parser';
import { LoopTurn } from '../../base/eventLoop.ts';
import { type Reference, ReferenceInvalid } from '../../registry/reference.ts';
import { formatPath, MOST_PROBLEMS, type Problem, quoted } from '../json/problem.ts';
import { schemaProblems } from '../json/schemaProblems.ts';
import { itemsOf, memberOf, membersOf, parseStrictJson } from '../json/strictJson.ts';
import { readTextFile } from '../json/textFile.ts';
import { ManifestInvalid, ManifestMissing, ManifestUnreadable } from './errors.ts';
import { isFault, parseRegistryPrefix, type RegistryPrefix } from './imageText.ts';
import { readPlugins } from './plugins.ts';
import { manifestKeysAt, manifestSchema } from './schema.ts';
import { readSignatures } from './signatures.ts';
import type { Reading } from './versions.ts';
import type { PluginManifest } from './wanted.ts';
import { defaultRegistry } from './wanted.ts';

export type { PluginManifest } from './wanted.ts';

const maxSizeBytes = 8 * 1024 * 1024;

/** Reads a manifest. @throws ManifestMissing, ManifestUnreadable, ManifestInvalid (with all mistakes) */
export async function readPluginManifest(path: string): Promise<PluginManifest> {
  return parsePluginManifest(await readManifestText(path), { file: path });
}

/** Returns a manifest as it is written. @throws ManifestMissing, ManifestUnreadable, ManifestInvalid if it is not a text of that size */
export async function readManifestText(path: string): Promise<string> {
  const read = await readTextFile(path, maxSizeBytes);
  if ('text' in read) return read.text;
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

export interface ManifestSource {
  /** How errors name the manifest, and the way to repair it. Default: by `file`. */
  readonly named?: { readonly file: string; readonly hint: string };
  /** The manifest's path. */
  readonly file: string;
  /** Finds the files that the manifest names. Default: relative to its folder. */
  readonly locate?: (written: string) => string;
}

/** Parses a manifest. @throws ManifestInvalid */
export async function parsePluginManifest(
  text: string,
  { file, locate, named }: ManifestSource,
): Promise<PluginManifest> {
  const turn = new LoopTurn();
  const document = await parseStrictJson(text);
  const { root } = document;
  await turn.rest();
  const problems: Problem[] = [
    ...document.problems,
    ...schemaProblems(manifestSchema, document, { source: text, keysAt: manifestKeysAt }),
  ];
  await turn.rest();
  const absolute = resolve(file);
  const requireFewProblems = (most: number): void => {
    if (problems.length < most) return;
    throw new ManifestInvalid(named?.file ?? file, inOrder(problems), undefined, named?.hint);
  };
  requireFewProblems(MOST_PROBLEMS);
  const report: Reading['report'] = (path, node, fault) => {
    problems.push({ place: formatPath(path), ...fault, ...document.spot(node.offset) });
    requireFewProblems(MOST_PROBLEMS);
  };

  const registryNode = memberOf(root, 'registry')?.node;
  const registry = registryNode?.type === 'string' ? String(registryNode.value) : defaultRegistry;
  const parsed = parseRegistryPrefix(registry);
  if (isFault(parsed) && registryNode) report(['registry'], registryNode, parsed);
  const base = isFault(parsed) ? requirePrefix(defaultRegistry) : parsed;

  const plugins = memberOf(root, 'plugins')?.node;
  const reading: Reading = {
    locate: locate ?? (written => resolve(absolute, '..', written)),
    base,
    report,
    rest: () => turn.rest(),
  };
  const read = plugins ? await readPlugins(plugins, reading) : { versions: [], aliases: [] };
  const versions = await readSignatures(memberOf(root, 'signatures')?.node, read.versions, reading);
  const mirrors = await readMirrors(memberOf(root, 'mirrors')?.node, reading);
  requireFewProblems(1);
  const shown = named === undefined ? {} : { shown: named.file };
  return { file: absolute, ...shown, registry: formatRegistryPrefix(base), ...read, versions, mirrors };
}

/**
 * Returns the manifest with every image taken from `HOST[/PREFIX]`: the host is replaced and the prefix put before the
 * repository, where it replaces the prefix of the manifest's own `registry`. @throws ReferenceInvalid
 */
export function withRegistry(manifest: PluginManifest, registry: string): PluginManifest {
  const target = requirePrefix(registry);
  const own = requirePrefix(manifest.registry);
  const rewrite = (reference: Reference): Reference => {
    const inOwn = own.prefix !== '' && reference.registry === own.registry;
    const bare =
      inOwn && reference.repository.startsWith(`${own.prefix}/`)
        ? reference.repository.slice(own.prefix.length + 1)
        : reference.repository;
    const repository = target.prefix === '' ? bare : `${target.prefix}/${bare}`;
    return { ...reference, registry: target.registry, repository };
  };
  return {
    ...manifest,
    registry: formatRegistryPrefix(target),
    versions: manifest.versions.map(version =>
      version.source.kind === 'image'
        ? { ...version, source: { kind: 'image', reference: rewrite(version.source.reference) } }
        : version,
    ),
  };
}

/** Parses `HOST[/PREFIX]`. @throws ReferenceInvalid */
export function requirePrefix(text: string): RegistryPrefix {
  const parsed = parseRegistryPrefix(text);
  if (!isFault(parsed)) return parsed;
  throw new ReferenceInvalid(`${parsed.found} is not a registry`, {
    subject: parsed.found,
    expected: parsed.expected,
    found: parsed.found,
    hint: parsed.hint ?? 'Write it as HOST or HOST/PREFIX, such as harbor.example.com/higress.',
  });
}

function formatRegistryPrefix({ registry, prefix }: RegistryPrefix): string {
  return prefix === '' ? registry : `${registry}/${prefix}`;
}

async function readMirrors(
  node: Node | undefined,
  { report, rest }: Reading,
): Promise<Readonly<Record<string, readonly string[]>>> {
  const mirrors: [string, string[]][] = [];
  for (const member of membersOf(node)) {
    await rest();
    if (member.key === '__proto__') continue;
    const host = parseRegistryPrefix(member.key);
    if (isFault(host)) report(['mirrors', member.key], member.keyNode, host);
    else if (host.prefix !== '')
      report(['mirrors', member.key], member.keyNode, {
        found: quoted(member.key),
        expected: 'the HOST[:PORT] of a registry, without a path',
      });
    const prefixes: string[] = [];
    for (const [index, item] of itemsOf(member.node).entries()) {
      if (item.type !== 'string') continue;
      const prefix = parseRegistryPrefix(String(item.value));
      if (isFault(prefix)) report(['mirrors', member.key, index], item, prefix);
      else prefixes.push(formatRegistryPrefix(prefix));
    }
    mirrors.push([member.key, prefixes]);
  }
  return Object.fromEntries(mirrors);
}

/** In the order of the text. */
function inOrder(problems: readonly Problem[]): Problem[] {
  return [...problems].sort(
    (one, other) => (one.line ?? 0) - (other.line ?? 0) || (one.column ?? 0) - (other.column ?? 0),
  );
}

/**
 * Returns the files that a manifest names: local modules, keys and trusted roots. The path as the manifest has it → the path on
 * this machine.
 */
export function namedFiles(manifest: PluginManifest, text: string): Map<string, string> {
  const { signatures = [] } = JSON.parse(text.replace(/^\ufeff/, '')) as { readonly signatures?: unknown };
  const policies = (Array.isArray(signatures) ? signatures : [signatures]) as Record<string, unknown>[];
  const written = [
    ...manifest.versions.flatMap(({ source }) => (source.kind === 'file' ? [source.written] : [])),
    ...policies.flatMap(({ key, trustedRoot }) => [key, trustedRoot]).filter(path => typeof path === 'string'),
  ];
  return new Map(written.map(path => [path, resolve(manifest.file, '..', path)]));
}
