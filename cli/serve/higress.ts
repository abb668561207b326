import { manifestLine, valuesFor, type WrittenPlugin } from '../../mirror/coverage/manifestLines.ts';
import { meantImage, readHigressData } from '../../mirror/coverage/requests/higressReleases.ts';
import type { HigressRequests, PresentVersion } from '../../server/higressRequests.ts';

/** Reads what Higress releases request, as the pages of the server show it. */
export async function readHigress(): Promise<HigressRequests> {
  const data = await readHigressData();
  return {
    releases: data.releases,
    others: [
      { ...data.controller, release: 'Higress Controller' },
      { ...data.allInOne, release: 'Higress all-in-one' },
    ],
    manifestLines: (missing, present) => {
      const plugins: Record<string, WrittenPlugin> = {};
      for (const { name } of missing) {
        const written = writtenPlugin(name, present(name));
        if (written !== undefined) plugins[name] = written;
      }
      const wanted = missing.map(({ name, version, sameAs }) => {
        const image = meantImage(data, name, version);
        if (image !== undefined) return { name, version, image: { repository: image.image, tag: image.tag } };
        const same = sameAs === undefined ? undefined : imageOf(sameAs, present(name));
        return { name, version, ...(same === undefined ? {} : { image: same }) };
      });
      return [...valuesFor(wanted, plugins)].map(([name, value]) => manifestLine(name, value));
    },
  };
}

/**
 * Returns the entry that manifest.json has for a plugin whose tree has these versions; undefined if all of them are aliases, so
 * that the page offers a new line.
 */
function writtenPlugin(name: string, versions: readonly PresentVersion[]): WrittenPlugin | undefined {
  const own = versions.filter(({ aliasOf }) => aliasOf === undefined).toReversed();
  const [first] = own;
  if (first === undefined) return undefined;
  const aliases = Object.fromEntries(versions.flatMap(({ version, aliasOf }) => (aliasOf ? [[version, aliasOf]] : [])));
  const named = Object.keys(aliases).length > 0 ? { aliases } : {};
  if (first.reference.startsWith('file:'))
    return { file: first.reference.slice('file:'.length), versions: own.map(({ version }) => version), ...named };
  const images = own.map(({ version, reference }) => ({ version, ...repositoryAndTag(reference) }));
  const image = images[0]?.repository ?? '';
  const tags = Object.fromEntries(
    images.flatMap(({ version, repository, tag }) =>
      repository !== image ? [[version, `${repository}:${tag}`]] : tag === version ? [] : [[version, tag]],
    ),
  );
  const value = {
    ...(image === `plugins/${name}` ? {} : { image }),
    versions: own.map(({ version }) => version),
    ...(Object.keys(tags).length > 0 ? { tags } : {}),
    ...named,
  };
  return Object.keys(value).length === 1 ? value.versions : value;
}

/** Returns the image that a version of the tree, or the target of an alias, comes from. */
function imageOf(
  version: string,
  versions: readonly PresentVersion[],
): { readonly repository: string; readonly tag: string } | undefined {
  const found = versions.find(each => each.version === version);
  const target = found?.aliasOf === undefined ? found : versions.find(each => each.version === found.aliasOf);
  return target === undefined ? undefined : repositoryAndTag(target.reference);
}

/** Of `registry.example/plugins/cors:2.0.0` or `…/cors@sha256:…`. */
function repositoryAndTag(reference: string): { readonly repository: string; readonly tag: string } {
  const path = reference.slice(reference.indexOf('/') + 1);
  const at = path.indexOf('@');
  const bare = at < 0 ? path : path.slice(0, at);
  const colon = bare.lastIndexOf(':');
  if (colon < 0) return { repository: bare, tag: at < 0 ? 'latest' : path.slice(at + 1) };
  return { repository: bare.slice(0, colon), tag: bare.slice(colon + 1) };
}
