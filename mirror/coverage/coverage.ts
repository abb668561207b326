import { isDigest, isHost, isRepository, isTag, withoutLogin } from '../../registry/reference.ts';
import { nearestVersion } from '../../tree/nearestVersion.ts';
import { versionKey } from '../report.ts';
import { type HigressData, meantImage } from './requests/higressReleases.ts';
import type { InputProblem, PluginRequest } from './requests/pluginRequest.ts';
import {
  byNameThenVersion,
  type MirrorImage,
  type ModuleContent,
  manifestPath,
  moduleUrl,
  type Served,
  type ServedModule,
} from './served.ts';
import { isMirrorHost, type MirrorAddress, type ModulePath, modulePathname, type Target, targetOf } from './target.ts';

export type CoverageStatus =
  /** The URL answers 200, and the gateway takes the bytes. */
  | 'served'
  /** 404: the mirror has no such path. */
  | 'notFound'
  /** 404, and the same module is here under another path. */
  | 'otherPath'
  /** 200, and the gateway refuses the bytes, because `spec.sha256` of the resource differs. */
  | 'sha256Differs'
  /** Another host than the mirror. */
  | 'otherHost'
  /** An image, which plain HTTP cannot serve, or of a form that gateways cannot load. */
  | 'oci'
  /** A file on the gateway's own disk. No server is involved. */
  | 'file'
  /** The server returned another status, or no response. */
  | 'fault'
  /** A gateway cannot fetch from this address. */
  | 'invalid';

export interface CoverageFinding {
  readonly request: PluginRequest;
  /** The URL as it may be shown: without a login. */
  readonly url: string;
  readonly status: CoverageStatus;
  /** The path that was looked up, where the URL has one. */
  readonly path?: ModulePath;
  /** The finding as a sentence. Absent for a plain `served`. */
  readonly detail?: string;
  /**
   * A reason to check a module that is served. `otherImage`: the path has another image than the consumer means. `movedTag`: the tag
   * led to another digest when the release was made.
   */
  readonly warning?: 'otherImage' | 'movedTag';
  /** The version that a manifest lacks for this request. */
  readonly missing?: MissingVersion;
}

export interface MissingVersion extends ModulePath {
  /**
   * The repository, with its registry unless that is Higress' own, and the tag, the digest or both; absent where no release has this
   * path: then they are the defaults.
   */
  readonly image?: { readonly repository: string; readonly tag?: string; readonly digest?: string };
}

export interface CoverageReport {
  /** Misses that close routes first, then the other misses, warnings, served requests, local files and disabled resources. */
  readonly findings: readonly CoverageFinding[];
  readonly problems: readonly InputProblem[];
  readonly totals: CoverageTotals;
}

export interface CoverageTotals {
  readonly requests: number;
  readonly served: number;
  /** Of resources that are enabled. */
  readonly notServed: number;
  /** Of those, the ones whose failStrategy closes routes. */
  readonly closingRoutes: number;
  /** Served, but not from the image that the consumer means. */
  readonly warnings: number;
  /** Resources that Higress keeps from the gateway; they count nowhere else but in `requests`. */
  readonly disabled: number;
  /** Files of the gateway's own disk. */
  readonly local: number;
  readonly problems: number;
}

export interface CoverageOptions extends MirrorAddress {
  readonly requests: readonly PluginRequest[];
  readonly problems: readonly InputProblem[];
  readonly served: Served;
  /** Further paths of each module (`serve --url-pattern`): `/wasm-plugins/${name}.wasm`. Default: none. */
  readonly urlPatterns?: readonly string[];
  readonly data: HigressData;
}

/** Looks up every request among the served modules. */
export function cover(options: CoverageOptions): CoverageReport {
  const { requests, problems, served, bases, anyPrivateHost = bases.length === 0, urlPatterns = [], data } = options;
  const address = { bases, anyPrivateHost };
  const byPath = new Map(served.modules.map(module => [versionKey(module), module]));
  const index = indexOf(served.modules);
  const context = { served, bases, address, data, byPath, index, patterns: urlPatterns.map(patternOf) };
  const findings = requests.map(request => find(request, context));
  const ranked = findings.map((finding, index) => ({ finding, index, rank: rankOf(finding) }));
  ranked.sort((one, other) => one.rank - other.rank || one.index - other.index);
  const active = findings.filter(({ request }) => request.disabled !== true);
  const missed = active.filter(isMiss);
  return {
    findings: ranked.map(({ finding }) => finding),
    problems,
    totals: {
      requests: requests.length,
      served: active.filter(({ status }) => status === 'served').length,
      notServed: missed.length,
      closingRoutes: missed.filter(({ request }) => request.failStrategy === 'FAIL_CLOSE').length,
      warnings: active.filter(({ warning }) => warning !== undefined).length,
      disabled: findings.length - active.length,
      local: active.filter(({ status }) => status === 'file').length,
      problems: problems.length,
    },
  };
}

/** Returns the paths of the mirror that these requests lead to, for servedByServer. */
export function pathsOf(requests: readonly PluginRequest[], address: MirrorAddress): string[] {
  return requests.flatMap(({ url }) => {
    const target = targetOf(url, address);
    return target.kind === 'module' ? modulePathname(target) : target.kind === 'path' ? target.path : [];
  });
}

/** Returns the images that these requests want of the mirror, and the path of each one's module, for servedByServer. */
export function imagesOf(requests: readonly PluginRequest[], address: MirrorAddress): MirrorImage[] {
  return requests.flatMap(request => {
    const target = targetOf(request.url, address);
    if (target.kind !== 'oci') return [];
    const { host, repository, tag } = imageOf(target.reference);
    if (!isMirrorHost(host, address) || !isRepository(repository) || tag === undefined || !isTag(tag)) return [];
    const { plugin = repository.split('/').at(-1) ?? repository, version = tag } = request;
    return { repository, tag, path: modulePathname({ name: plugin, version }) };
  });
}

/** Whether a gateway gets no module by this request. */
export function isMiss({ status }: CoverageFinding): boolean {
  return status !== 'served' && status !== 'file';
}

/** A miss that reaches the gateway: Higress keeps disabled resources from it. */
export function isActiveMiss(finding: CoverageFinding): boolean {
  return isMiss(finding) && finding.request.disabled !== true;
}

function rankOf(finding: CoverageFinding): number {
  if (finding.request.disabled === true) return 5;
  if (isMiss(finding)) return finding.request.failStrategy === 'FAIL_CLOSE' ? 0 : 1;
  if (finding.status === 'file') return 4;
  return finding.warning === undefined ? 3 : 2;
}

interface Context {
  readonly served: Served;
  readonly bases: readonly URL[];
  readonly address: MirrorAddress;
  readonly data: HigressData;
  readonly byPath: ReadonlyMap<string, ServedModule>;
  readonly index: ModuleIndex;
  readonly patterns: readonly RegExp[];
}

/** So that twenty thousand requests for as many modules take seconds and not hours. */
interface ModuleIndex {
  /** The modules of a plugin, the lowest version first. */
  readonly versionsOf: (name: string) => readonly ServedModule[];
  readonly bySha256: ReadonlyMap<string, ServedModule>;
  readonly byDigest: ReadonlyMap<string, ServedModule>;
  /** By the last part of their image: `ai-proxy:1.0.0`. */
  readonly byImageName: ReadonlyMap<string, readonly ServedModule[]>;
}

function indexOf(modules: readonly ServedModule[]): ModuleIndex {
  const byName = grouped(modules, ({ name }) => name);
  const sorted = new Set<string>();
  const firstBy = (keyOf: (module: ServedModule) => string | undefined): Map<string, ServedModule> =>
    new Map(
      modules.toReversed().flatMap(module => {
        const key = keyOf(module);
        return key === undefined ? [] : [[key, module] as const];
      }),
    );
  return {
    versionsOf: name => {
      const versions = byName.get(name) ?? [];
      if (!sorted.has(name)) versions.sort(byNameThenVersion);
      sorted.add(name);
      return versions;
    },
    bySha256: firstBy(({ sha256 }) => sha256),
    byDigest: firstBy(({ digest, from }) => (from === undefined ? undefined : digest)),
    byImageName: grouped(modules, ({ from }) => imageName(from ?? '')),
  };
}

function grouped(
  modules: readonly ServedModule[],
  keyOf: (module: ServedModule) => string,
): Map<string, ServedModule[]> {
  const groups = new Map<string, ServedModule[]>();
  for (const module of modules) {
    const group = groups.get(keyOf(module));
    if (group === undefined) groups.set(keyOf(module), [module]);
    else group.push(module);
  }
  return groups;
}

function imageName(reference: string): string {
  return reference.replace(/@.*$/, '').split('/').at(-1) ?? '';
}

/** The modules of `REPOSITORY:TAG`, whatever their registry. */
function fromImage({ byImageName }: ModuleIndex, image: string): ServedModule[] {
  return (byImageName.get(imageName(image)) ?? []).filter(({ from = '' }) => isSameImage(from, image));
}

function find(request: PluginRequest, context: Context): CoverageFinding {
  const target = targetOf(request.url, context.address);
  const about = { request, url: withoutLogin(request.url) };
  switch (target.kind) {
    case 'module':
      return {
        ...about,
        path: { name: target.name, version: target.version },
        ...findModule(request, target, context),
      };
    case 'file':
      return { ...about, status: 'file', detail: `The gateway reads ${target.path} from its own disk.` };
    case 'invalid':
      return { ...about, status: 'invalid', detail: `${target.found}: the gateway takes http, https, oci and file.` };
    case 'oci':
      return { ...about, ...findImage(request, target.reference, context) };
    case 'path':
      return { ...about, ...findOther(request, target, context) };
    case 'otherHost': {
      const { bases, anyPrivateHost = bases.length === 0 } = context.address;
      const isMirror = anyPrivateHost && target.isInCluster && byPattern(target.path, context) !== undefined;
      return isMirror
        ? { ...about, ...findOther(request, { kind: 'path', path: target.path }, context) }
        : { ...about, status: 'otherHost', ...elsewhere(request, target, context) };
    }
  }
}

type Found = Pick<CoverageFinding, 'status' | 'detail' | 'warning' | 'missing'>;

function findModule(request: PluginRequest, path: ModulePath, context: Context): Found {
  const fault = findFault(modulePathname(path), context);
  if (fault !== undefined) return fault;
  const module = context.byPath.get(versionKey(path));
  if (module === undefined) return findMissing(request, path, context);
  return findDifference(request, module) ?? { status: 'served', ...imageWarning(request, module) };
}

/** Looks up a path that is not of the form of a module's: one of a pattern, or any other path of the server. */
function findOther(
  request: PluginRequest,
  target: Extract<Target, { readonly kind: 'path' }>,
  context: Context,
): Found {
  const fault = findFault(target.path, context);
  if (fault !== undefined) return fault;
  const module = byPattern(target.path, context);
  const content = context.served.others.get(target.path) ?? module;
  if (content === undefined) return { status: 'notFound', ...elsewhere(request, target, context) };
  return findDifference(request, content) ?? { status: 'served', ...(module && imageWarning(request, module)) };
}

function findFault(path: string, { served }: Context): Found | undefined {
  const fault = served.faults.get(path);
  return fault === undefined ? undefined : { status: 'fault', detail: `${served.name} returned no module: ${fault}.` };
}

function findDifference({ sha256 }: PluginRequest, content: ModuleContent): Found | undefined {
  if (sha256 === undefined || content.sha256 === undefined || sha256 === content.sha256) return undefined;
  return {
    status: 'sha256Differs',
    detail: `The resource has sha256 ${short(sha256)}, the module ${short(content.sha256)}: the gateway refuses it.`,
  };
}

/** The module that a server with the same patterns has at a path; without `${version}` it is the highest. */
function byPattern(path: string, { patterns, index }: Context): ServedModule | undefined {
  for (const pattern of patterns) {
    const { name, version } = pattern.exec(path)?.groups ?? {};
    if (name === undefined) continue;
    const versions = index.versionsOf(name);
    const found = version === undefined ? versions.at(-1) : versions.find(module => module.version === version);
    if (found !== undefined) return found;
  }
  return undefined;
}

function patternOf(text: string): RegExp {
  const parts = text.split(/(\$\{name\}|\$\{version\})/).map((part, at, all) => {
    if (part !== '${name}' && part !== '${version}') return part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    const group = part.slice(2, -1);
    return all.indexOf(part) === at ? `(?<${group}>[^/]+)` : `\\k<${group}>`;
  });
  return new RegExp(`^${parts.join('')}$`);
}

function findMissing(request: PluginRequest, path: ModulePath, { index, data }: Context): Found {
  const image = meantBy(request, path, data);
  const missing = { name: path.name, version: path.version, ...(image === undefined ? {} : { image }) };
  const { sha256 } = request;
  const same =
    (sha256 === undefined ? undefined : index.bySha256.get(sha256)) ??
    (image === undefined ? undefined : fromImage(index, `${image.repository}:${image.tag}`)[0]);
  if (same !== undefined)
    return { status: 'otherPath', detail: `The same module is here as ${versionKey(same)}.`, missing };
  const versions = index.versionsOf(path.name).map(({ version }) => version);
  return { status: 'notFound', detail: versionsHere(path.version, versions), missing };
}

/** Names the nearest version first: the last of the others may be too many to list. */
function versionsHere(requested: string, versions: readonly string[]): string {
  const near = nearestVersion(requested, versions);
  if (near === undefined) return 'The plugin is not here.';
  const others = versions.filter(version => version !== near.version).toReversed();
  const more = others.length > MOST_VERSIONS ? ` and ${others.length - MOST_VERSIONS} more` : '';
  const rest = others.length === 0 ? '' : `; also here: ${others.slice(0, MOST_VERSIONS).join(', ')}${more}`;
  return near.isSame
    ? `The same version is here as ${near.version}${rest}.`
    : `The nearest version here is ${near.version}${rest}.`;
}

const MOST_VERSIONS = 6;

/** Only a Console's list names images that it was tested with. */
function imageWarning({ kind, image, digest, consumer }: PluginRequest, module: ServedModule): Partial<Found> {
  const { from } = module;
  if (kind !== 'console' || image === undefined || from === undefined || !/\/.*:[^/]*$/.test(from.replace(/@.*$/, '')))
    return {};
  if (!isSameImage(from, image))
    return { warning: 'otherImage', detail: `It is served from ${from}, where ${consumer} means ${image}.` };
  if (digest === undefined || module.digest === undefined || digest === module.digest) return {};
  return {
    warning: 'movedTag',
    detail: `${image} was ${short(digest)} when ${consumer} was made, and is ${short(module.digest)} here.`,
  };
}

/** Images are compared by digest, else by repository and tag, since a mirror of a registry has another host. */
function findImage(request: PluginRequest, reference: string, context: Context): Found {
  const { served, bases, byPath, address, index } = context;
  const { host, repository, tag, digest } = imageOf(reference);
  const name = request.plugin ?? repository.split('/').at(-1) ?? repository;
  const version = request.version ?? tag ?? digest?.slice(0, 19).replace(':', '-') ?? 'latest';
  const inPlace = byPath.get(versionKey({ name, version }));
  const isMeant = (module: ServedModule): boolean =>
    digest !== undefined && module.digest !== undefined
      ? digest === module.digest
      : module.from === undefined || (tag !== undefined && isSameImage(module.from, `${repository}:${tag}`));
  const module =
    inPlace !== undefined && isMeant(inPlace)
      ? inPlace
      : ((digest === undefined ? undefined : index.byDigest.get(digest)) ??
        (tag === undefined ? [] : fromImage(index, `${repository}:${tag}`)).find(isMeant));
  const isHere = isMirrorHost(host, address) && (digest === undefined || module !== undefined);
  const loadable = isHere ? served.images?.get(`${repository}:${tag}`) : undefined;
  if (loadable === true) return { status: 'served' };
  const fault = isHere ? findFault(manifestPath(repository, tag ?? ''), context) : undefined;
  if (fault !== undefined) return fault;
  const why = loadable === false ? "Gateways cannot load it over oci://: its last layer is no gzip'd tar. " : '';
  if (module !== undefined)
    return { status: 'oci', detail: `${why}The module is here as ${addressOf(module, bases)}: use that URL.` };
  if (loadable === false) return { status: 'oci', detail: `${why}Use the http URL of its module.` };
  if (inPlace !== undefined)
    return { status: 'oci', detail: `${addressOf(inPlace, bases)} is here, from another image: ${inPlace.from}.` };
  const isImage = isRepository(repository) && (tag === undefined || isTag(tag));
  if (!isImage || (digest !== undefined && !isDigest(digest)))
    return { status: 'oci', detail: 'No image can have this name: the gateway cannot load it.' };
  const isHigress = /^higress-registry\.[a-z0-9-]+\.cr\.aliyuncs\.com$/.test(host);
  const isOrigin = served.modules.some(({ from }) => from?.startsWith(`${host}/`));
  // The mirror cannot be its own source: where its images come from is what the manifest says.
  const isMirror = served.images !== undefined && isMirrorHost(host, address) && !isOrigin;
  const detail = isMirror
    ? `${served.name} has no such image.`
    : 'An image needs a registry; a mirror serves modules over HTTP.';
  const isOfPlugin = ({ name: own, from }: ServedModule): boolean =>
    own === name && from?.includes(`/${repository}:`) === true;
  if (isMirror && digest === undefined && served.modules.some(isOfPlugin))
    return { status: 'oci', detail, missing: { name, version } };
  return {
    status: 'oci',
    detail,
    missing: {
      name,
      version,
      image: {
        repository: isHigress || isMirror ? repository : `${host}/${repository}`,
        ...(tag === undefined ? {} : { tag }),
        ...(digest === undefined ? {} : { digest }),
      },
    },
  };
}

interface Image {
  readonly host: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
}

/** Parses an image as gateways do (go-containerregistry, name.ParseReference): without a host it is on Docker Hub. */
function imageOf(reference: string): Image {
  const [path = '', digest] = reference.split('@');
  const slash = path.indexOf('/');
  const first = path.slice(0, Math.max(0, slash));
  const host = isHost(first) ? first : 'docker.io';
  const { repository, tag } = splitImage(isHost(first) ? path.slice(slash + 1) : slash < 0 ? `library/${path}` : path);
  if (digest === undefined) return { host, repository, tag: tag ?? 'latest' };
  return { host, repository, digest, ...(tag === undefined ? {} : { tag }) };
}

function elsewhere(
  request: PluginRequest,
  target: Extract<Target, { readonly kind: 'path' | 'otherHost' }>,
  { byPath, bases, data }: Context,
): Omit<Found, 'status'> {
  const { plugin, version } = request;
  const named = plugin !== undefined && version !== undefined ? { name: plugin, version } : undefined;
  const path = (target.kind === 'otherHost' ? target.module : undefined) ?? named;
  const problem =
    target.kind === 'path'
      ? `A mirror has modules at /plugins/NAME/VERSION/plugin.wasm, not at ${target.path.slice(0, 200)}`
      : target.isInCluster
        ? `${target.host} is another host of this network, which is not checked`
        : `${target.host} is outside the cluster`;
  if (path === undefined) return { detail: `${problem}.` };
  const module = byPath.get(versionKey(path));
  if (module !== undefined) return { detail: `${problem}; the module is here as ${addressOf(module, bases)}.` };
  const image = meantBy(request, path, data);
  return { detail: `${problem}.`, missing: { ...path, ...(image === undefined ? {} : { image }) } };
}

function addressOf(module: ServedModule, bases: readonly URL[]): string {
  const [base] = bases;
  return base === undefined ? modulePathname(module) : moduleUrl(base, module);
}

function splitImage(image: string): { readonly repository: string; readonly tag?: string } {
  const colon = image.lastIndexOf(':');
  return colon < 0 ? { repository: image } : { repository: image.slice(0, colon), tag: image.slice(colon + 1) };
}

/** The image that the consumer names, else the one that the newest release means by the path. */
function meantBy({ image }: PluginRequest, path: ModulePath, data: HigressData): MissingVersion['image'] {
  if (image !== undefined) {
    const { repository, tag = path.version } = splitImage(image);
    return { repository, tag };
  }
  const known = meantImage(data, path.name, path.version);
  return known && { repository: known.image, tag: known.tag };
}

/** Whether `reference` is this `REPOSITORY:TAG`, in whatever registry and below whatever prefix. */
function isSameImage(reference: string, image: string): boolean {
  const bare = reference.replace(/@.*$/, '');
  return bare === image || bare.endsWith(`/${image}`);
}

function short(digest: string): string {
  return `${digest.slice(0, digest.indexOf(':') + 13)}…`;
}
