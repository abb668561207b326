import type { Node } from 'jsonc-parser';
import { nearest } from '../../base/nearest.ts';
import { type Digest, isDigest, isTag, type Reference } from '../../registry/reference.ts';
import { versionProblem } from '../../tree/names.ts';
import { type Path, quoted } from '../json/problem.ts';
import { type Member, memberOf, membersOf } from '../json/strictJson.ts';
import { type ImageParts, isFault, parseImage, parseTagText, tagRule } from './imageText.ts';
import { listed, type Reading, type WrittenVersion } from './versions.ts';
import type { VersionSource } from './wanted.ts';

/** Returns the reference of every version of a plugin, from `image`, `tags` and the version itself. */
export async function imageSources(
  name: string,
  nameFits: boolean,
  known: readonly WrittenVersion[],
  node: Node,
  path: Path,
  reading: Reading,
): Promise<Map<string, VersionSource>> {
  const tagsMember = memberOf(node, 'tags');
  const tags = await readTags(tagsMember, known, [...path, 'tags'], reading);
  const image = readImage(name, nameFits, known, node, path, tags, reading);
  const sources = new Map<string, VersionSource>();
  for (const each of known) {
    await reading.rest();
    const reference = referenceOf(
      each,
      image,
      tags.get(each.version),
      memberOf(tagsMember?.node, each.version) !== undefined,
      reading,
    );
    if (reference !== undefined) sources.set(each.version, { kind: 'image', reference });
  }
  return sources;
}

interface Tag {
  readonly whole?: ImageParts;
  readonly tag?: string;
  readonly digest?: Digest;
  readonly path: Path;
  readonly node: Node;
}

async function readTags(
  tags: Member | undefined,
  known: readonly WrittenVersion[],
  path: Path,
  reading: Reading,
): Promise<Map<string, Tag>> {
  const found = new Map<string, Tag>();
  const versions = new Set(known.map(each => each.version));
  for (const { key, keyNode, node } of membersOf(tags?.node)) {
    await reading.rest();
    if (key === '__proto__') continue;
    if (known.length > 0 && !versions.has(key)) {
      const near = nearest(key, [...versions]);
      reading.report([...path, key], keyNode, {
        found: `a tag for ${quoted(key)}`,
        expected: `one of the versions: ${listed(versions)}`,
        ...(near === undefined ? {} : { hint: `Did you mean "${near}"?` }),
      });
    }
    if (node.type !== 'string' || node.value === '') continue;
    const parsed = parseTagText(String(node.value), reading.base);
    if (isFault(parsed)) reading.report([...path, key], node, parsed);
    else
      found.set(key, {
        ...('repository' in parsed ? { whole: parsed } : {}),
        ...pick(parsed),
        path: [...path, key],
        node,
      });
  }
  return found;
}

function pick(parts: { readonly tag?: string; readonly digest?: Digest }): { tag?: string; digest?: Digest } {
  return {
    ...(parts?.tag === undefined ? {} : { tag: parts?.tag }),
    ...(parts?.digest === undefined ? {} : { digest: parts?.digest }),
  };
}

/** Returns the image that the versions share; undefined if it is invalid. */
function readImage(
  name: string,
  nameFits: boolean,
  known: readonly WrittenVersion[],
  node: Node,
  path: Path,
  tags: ReadonlyMap<string, Tag>,
  reading: Reading,
): ImageParts | undefined {
  const member = memberOf(node, 'image');
  if (member === undefined) {
    const image = parseImage(`plugins/${name}`, reading.base);
    if (!isFault(image)) return image;
    // An invalid name is reported already, and no image is needed if every version has its own.
    const needed = known.length === 0 || known.some(each => !tags.get(each.version)?.whole);
    if (nameFits && needed)
      reading.report(path, node, {
        found: `no image, and ${quoted(`plugins/${name}`)} cannot be one`,
        expected: 'the image of the plugin: a repository has only lower-case letters, digits, ".", "_" and "-"',
        hint: 'Write {"image": "…", "versions": […]}.',
      });
    return undefined;
  }
  if (member.node.type !== 'string' || member.node.value === '') return undefined;
  const text = String(member.node.value);
  const image = parseImage(text, reading.base);
  if (isFault(image)) {
    reading.report([...path, 'image'], member.node, image);
    return undefined;
  }
  if ((image.tag !== undefined || image.digest !== undefined) && known.length > 1) {
    const what = image.digest === undefined ? 'a tag' : 'a pin';
    const example = image.digest === undefined ? `"${image.tag}"` : `"@${image.digest.slice(0, 14)}…"`;
    reading.report([...path, 'image'], member.node, {
      found: `${what} on the image of ${known.length} versions`,
      expected: 'a repository alone, as the versions share it',
      hint: `Move it to one version: "tags": {"${known[0]?.version}": ${example}}.`,
    });
    return { registry: image.registry, repository: image.repository };
  }
  return image;
}

function referenceOf(
  each: WrittenVersion,
  image: ImageParts | undefined,
  entry: Tag | undefined,
  hasTag: boolean,
  reading: Reading,
): Reference | undefined {
  const parts = entry?.whole ?? image;
  const versionPin = each.pin !== undefined && isDigest(each.pin) ? each.pin : undefined;
  const itself = isDigest(each.version) ? each.version : undefined;
  // The version may be the digest itself: upstream's server publishes pinned images like this.
  const digest = versionPin ?? entry?.digest ?? parts?.digest ?? itself;
  const pins = [versionPin, entry?.digest, parts?.digest].filter(pin => pin !== undefined);
  if (new Set(pins).size > 1) {
    reading.report(entry?.digest ? entry.path : each.path, entry?.digest ? entry.node : each.node, {
      found: `two different pins for ${quoted(each.version)}`,
      expected: 'one',
    });
    return undefined;
  }
  if (
    entry !== undefined &&
    entry.whole === undefined &&
    entry.tag !== undefined &&
    parts?.tag !== undefined &&
    parts.tag !== entry.tag
  ) {
    reading.report(entry.path, entry.node, {
      found: `the tag "${entry.tag}", while the image has "${parts.tag}"`,
      expected: 'one of them',
    });
    return undefined;
  }
  // The tag is the version, unless `tags` has a digest instead, or the version is a digest.
  const implied = itself !== undefined || entry?.digest !== undefined ? undefined : each.version;
  const tag = entry?.tag ?? parts?.tag ?? implied;
  const repository = parts && { registry: parts.registry, repository: parts.repository };
  if (tag !== undefined && isTag(tag))
    return repository && { ...repository, tag, ...(digest === undefined ? {} : { digest }) };
  if (digest !== undefined) return repository && { ...repository, digest };
  // An invalid tag in `tags` is reported there.
  if (!hasTag && versionProblem(each.version) === undefined)
    reading.report(each.path, each.node, {
      found: `the version ${quoted(each.version)}, which cannot be a tag`,
      expected: `a tag for it; ${tagRule}`,
      hint: `Add the tag of the image: "tags": {"${each.version}": "…"}.`,
    });
  return undefined;
}
