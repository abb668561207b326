import { readdir, readFile } from 'node:fs/promises';
import { nearest } from '../../../base/nearest.ts';
import { PACKAGE_ROOT } from '../../../base/packageRoot.ts';
import { Refusal } from '../../../base/refusal.ts';
import type { PluginManifest } from '../../manifest/wanted.ts';
import { versionKey } from '../../report.ts';
import { modulePathname } from '../target.ts';
import type { PluginRequest } from './pluginRequest.ts';
import type { HigressSettings } from './settings.ts';

/** The requests of one build of Higress Console (higress/console/<release>.json), or of another part of Higress. */
export interface HigressRelease {
  /** `2.2.5`; a rebuilt release has a suffix (`2.2.4-rebuilt`). */
  readonly release: string;
  readonly plugins: readonly ReleasePlugin[];
}

export interface ReleasePlugin {
  readonly name: string;
  /** The version in the URL. */
  readonly version: string;
  /** The repository in the Higress registry, `plugins/basic-auth`. */
  readonly image: string;
  readonly tag: string;
  /** `ai`, `auth` and others, as plugins' spec.yaml have them; absent where it is not known. */
  readonly category?: string;
  /** The oldest Higress gateway that the plugin's spec.yaml allows; absent where it is not known. */
  readonly gateway?: string;
  /** The digest that the tag led to when the release was made, where it is known. */
  readonly digest?: string;
}

export interface HigressData {
  /** Of Higress Console, the newest first. */
  readonly releases: readonly HigressRelease[];
  readonly controller: HigressRelease;
  readonly allInOne: HigressRelease;
}

/** The data of this version of plugin-mirror has no release of that name. */
export class HigressReleaseUnknown extends Refusal {
  readonly code = 'HIGRESS_RELEASE_UNKNOWN';

  constructor(written: string, known: readonly string[]) {
    const near = nearest(written, known);
    super(`"${written}" is not a Higress release that plugin-mirror knows`, {
      subject: written,
      expected: `one of ${known.join(', ')}`,
      found: written,
      hint:
        near === undefined
          ? 'A newer release may need a newer plugin-mirror. plugin-mirror init --list prints those that it knows.'
          : `Did you mean ${near}? plugin-mirror init --list prints all of them.`,
    });
  }
}

/** The registry of every image in the data. */
export const higressRegistry = 'higress-registry.cn-hangzhou.cr.aliyuncs.com';

/** Reads the data that ships with the program, about 25 files of 2 KB. */
export async function readHigressData(): Promise<HigressData> {
  const folder = new URL('higress/', PACKAGE_ROOT);
  const files = (await readdir(new URL('console/', folder))).filter(file => file.endsWith('.json'));
  const [controller, allInOne, ...releases] = await Promise.all(
    ['controller.json', 'all-in-one.json', ...files.map(file => `console/${file}`)].map(async file =>
      releaseOf(JSON.parse(await readFile(new URL(file, folder), 'utf8')) as WrittenRelease, file),
    ),
  );
  const none = { release: '', plugins: [] };
  return {
    releases: releases.sort((one, other) => byRelease(other.release, one.release)),
    controller: controller ?? none,
    allInOne: allInOne ?? none,
  };
}

/** The newest Higress release in the data, and the paths of its Console that a manifest lacks. */
export interface NewestRelease {
  readonly release: string;
  /** How many plugins its Console requests. */
  readonly plugins: number;
  readonly missing: readonly { readonly name: string; readonly version: string }[];
}

/** Compares a manifest with the newest release; undefined if the data has none. */
export function newestRelease(
  { releases: [newest] }: HigressData,
  { versions, aliases }: Pick<PluginManifest, 'versions' | 'aliases'>,
): NewestRelease | undefined {
  if (newest === undefined) return undefined;
  const served = new Set([...versions, ...aliases].map(versionKey));
  const missing = newest.plugins.filter(plugin => !served.has(versionKey(plugin)));
  return {
    release: newest.release,
    plugins: newest.plugins.length,
    missing: missing.map(({ name, version }) => ({ name, version })),
  };
}

interface WrittenRelease {
  readonly release?: string;
  readonly plugins: Readonly<Record<string, WrittenPlugin>>;
}

interface WrittenPlugin extends Pick<ReleasePlugin, 'version' | 'category' | 'gateway' | 'digest'> {
  /** `REPOSITORY:TAG`; absent for `plugins/NAME:VERSION`. */
  readonly image?: string;
}

function releaseOf({ release, plugins }: WrittenRelease, file: string): HigressRelease {
  return {
    release: release ?? file.replace('.json', ''),
    plugins: Object.entries(plugins).map(([name, { version, image = `plugins/${name}:${version}`, ...rest }]) => {
      const colon = image.lastIndexOf(':');
      return { name, version, ...rest, image: image.slice(0, colon), tag: image.slice(colon + 1) };
    }),
  };
}

/** The builds of one release in the order in which they were published under its tag. */
const builds = ['', '-recovered', '-rebuilt'];

function byRelease(one: string, other: string): number {
  const [left, right] = [one, other].map(release => {
    const number = release.replace(/-.*$/, '');
    return { number, build: builds.indexOf(release.slice(number.length)) };
  });
  if (left === undefined || right === undefined) return 0;
  return left.number.localeCompare(right.number, 'en', { numeric: true }) || left.build - right.build;
}

/**
 * Returns the releases of these names, the newest first and each once. For a release whose image tag was rebuilt these are all
 * its builds, because the tag does not tell them apart. Without names it is the newest release.
 * @throws HigressReleaseUnknown
 */
export function chooseReleases(data: HigressData, names: readonly string[]): readonly HigressRelease[] {
  const known = [...new Set(data.releases.map(({ release }) => release))];
  const chosen = new Set<HigressRelease>();
  for (const written of names.length === 0 ? known.slice(0, 1) : names) {
    const name = written.replace(/^v(?=\d)/, '');
    const named = data.releases.filter(({ release }) => release === name || release.startsWith(`${name}-`));
    if (named.length === 0 || !/^\d+\.\d+\.\d+/.test(name)) throw new HigressReleaseUnknown(written, known);
    for (const build of named) chosen.add(build);
  }
  return data.releases.filter(release => chosen.has(release));
}

/**
 * Returns the requests of these releases' Consoles. A path that several releases request with the same image, and the same
 * digest, is one request.
 * The order of precedence is that of the Console: the pattern, then registry and namespace, then its own list
 * (WasmPluginServiceImpl, buildPluginImageUrl). Without settings the URL is the usual path, without a host.
 */
export function consoleRequests(releases: readonly HigressRelease[], settings: HigressSettings = {}): PluginRequest[] {
  const requests = new Map<string, PluginRequest & { readonly releases: readonly string[] }>();
  for (const { release, plugins } of releases)
    for (const plugin of plugins) {
      const request = consoleRequest(plugin, release, settings);
      const key = `${request.url} ${request.image} ${request.digest} ${plugin.name}`;
      const known = requests.get(key)?.releases ?? [];
      requests.set(key, { ...request, releases: [...known, release] });
    }
  return [...requests.values()].map(({ releases: named, ...request }) => ({
    ...request,
    consumer: `Console ${named.join(', ')}`,
  }));
}

function consoleRequest(plugin: ReleasePlugin, release: string, settings: HigressSettings): PluginRequest {
  const { name, version, image, tag, digest } = plugin;
  const { pattern, imageRegistry, imageNamespace, consoleTag } = settings;
  const usable = pattern?.value.includes('${name}') === true ? pattern : undefined;
  // A Console whose files are known, and which has no pattern, takes images.
  const deciding = pattern === undefined ? (imageRegistry ?? imageNamespace ?? consoleTag) : usable;
  const inNamespace = `${imageNamespace?.value ?? 'plugins'}/${image.replace(/^[^/]*\//, '')}`;
  const inRegistry = `oci://${imageRegistry?.value ?? higressRegistry}/${inNamespace}:${tag}`;
  const byPattern = usable?.value.replaceAll('${name}', name).replaceAll('${version}', version);
  return {
    kind: 'console',
    consumer: 'Console',
    url: byPattern ?? (deciding === undefined ? modulePathname(plugin) : inRegistry),
    plugin: name,
    version,
    image: `${image}:${tag}`,
    ...(digest === undefined ? {} : { digest }),
    failStrategy: 'FAIL_OPEN',
    source: deciding?.source ?? { file: `Higress ${release}` },
  };
}

/** Returns the request of Higress Controller for MCP servers from Nacos. It writes FAIL_OPEN (registry/memory/cache.go). */
export function controllerRequests({ controller }: HigressData, settings: HigressSettings = {}): PluginRequest[] {
  const { mcpServerUrl } = settings;
  const shared = { kind: 'controller', consumer: 'Controller', failStrategy: 'FAIL_OPEN' } as const;
  if (mcpServerUrl !== undefined)
    return [{ ...shared, url: mcpServerUrl.value, plugin: 'mcp-server', source: mcpServerUrl.source }];
  return controller.plugins.map(({ name, version, image, tag }) => ({
    ...shared,
    url: modulePathname({ name, version }),
    plugin: name,
    version,
    image: `${image}:${tag}`,
    source: { file: 'Higress Controller' },
  }));
}

/** Returns the requests of the templates in the all-in-one image. The templates name no images. */
export function allInOneRequests({ allInOne }: HigressData): PluginRequest[] {
  return allInOne.plugins.map(({ name, version }) => ({
    kind: 'all-in-one',
    consumer: 'all-in-one',
    url: modulePathname({ name, version }),
    plugin: name,
    version,
    failStrategy: 'FAIL_OPEN',
    source: { file: 'Higress all-in-one' },
  }));
}

/** Returns the image that the newest release with this path means; undefined if no release has the path. */
export function meantImage(data: HigressData, name: string, version: string): ReleasePlugin | undefined {
  for (const { plugins } of [...data.releases, data.controller, data.allInOne]) {
    const found = plugins.find(plugin => plugin.name === name && plugin.version === version);
    if (found !== undefined) return found;
  }
  return undefined;
}
