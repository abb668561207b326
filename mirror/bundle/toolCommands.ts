import type { Layout } from '../../layout/layout.ts';
import { INDEX_TYPE, type LayoutEntry, nameOf } from '../../layout/layoutIndex.ts';
import { partPatterns } from '../../layout/partFiles.ts';

/** The commands with which one tool reads a bundle. */
export interface ToolCommands {
  readonly tool: string;
  /** What the commands do, and what to mind. */
  readonly about: string;
  readonly commands: readonly string[];
}

interface Images {
  readonly images: readonly NamedImage[];
  /** False if index.json names manifests that are not there: a delta leaves them to its base. */
  readonly isWhole: boolean;
}

interface NamedImage {
  /** `HOST/REPOSITORY:TAG` or `HOST/REPOSITORY@DIGEST`, as index.json has it. */
  readonly name: string;
  readonly digest: string;
  readonly mediaType: string;
  /** `"$REGISTRY/REPOSITORY:TAG"`, for a shell. */
  readonly target: string;
}

/** skopeo looks for names only at entries of these types: "no descriptor found for reference" is its error for Docker's. */
const TYPES_OF_SKOPEO: readonly string[] = [INDEX_TYPE, 'application/vnd.oci.image.manifest.v1+json'];

/**
 * Returns ready shell commands for the tools that read OCI image layouts. Images are named by digest where a tool splits full
 * names wrongly. Images that a delta leaves to its base have no commands, and those that a tool cannot read none of that tool.
 */
export async function toolCommands(layout: Layout): Promise<ToolCommands[]> {
  const images: NamedImage[] = [];
  let isWhole = true;
  for (const entry of layout.index.entries) {
    const isHere = (await layout.sizeOf(entry.digest)) !== undefined;
    const image = isHere ? namedImage(entry) : undefined;
    if (image !== undefined) images.push(image);
    isWhole &&= isHere;
  }
  const [first, ...others] = layout.files;
  const all = { images, isWhole };
  if (first === undefined) return ofFolder(all, layout.path);
  if (others.length === 0) return ofTar(all, first);
  const tar = first.replace(/\.\d+$/, '');
  const joined = {
    tool: 'cat',
    about: 'The other tools read one file: join the parts first.',
    commands: [
      `cat ${partPatterns(layout.files.length)
        .map(pattern => `${quoted(tar)}${pattern}`)
        .join(' ')} > ${quoted(tar)}`,
    ],
  };
  return [joined, ...ofTar(all, tar)];
}

const TARGET = 'REGISTRY is the target, HOST or HOST/PREFIX.';

function ofTar({ images, isWhole }: Images, path: string): ToolCommands[] {
  // GNU tar takes what is before a colon for a host, unless there is a slash before it.
  const tar = quoted(/^[^/]*:/.test(path) ? `./${path}` : path);
  const bare = path.replace(/\.tar(?:\.\d+)?$/i, '');
  const folder = quoted(bare === path || /(?:^|\/)$/.test(bare) ? `${path}.layout` : bare);
  return [
    {
      tool: 'ORAS',
      about: `ORAS 1.2 or newer copies images with their referrers. ${TARGET}`,
      commands: images.map(it => `oras cp --recursive --from-oci-layout ${tar}@${it.digest} ${it.target}`),
    },
    skopeo('skopeo unpacks the whole tar for each image, and copies no referrers.', images, 'oci-archive', path),
    {
      tool: 'regctl',
      about: `regctl copies no referrers out of a tar. ${TARGET}`,
      commands: images.map(it => `regctl image import --name ${quoted(it.name)} ${it.target} ${tar}`),
    },
    crane('crane reads folders only. It pushes', isWhole, [
      `mkdir ${folder} && tar -xf ${tar} -C ${folder}`,
      craneCommand(folder),
    ]),
    containerd(tar, '', isWhole),
    docker(`docker load --input ${tar}`),
  ];
}

function ofFolder({ images, isWhole }: Images, path: string): ToolCommands[] {
  const folder = quoted(path);
  const packed = `tar -C ${folder} -cf - oci-layout index.json blobs | `;
  return [
    {
      tool: 'ORAS',
      about: `Copies images with their referrers. ${TARGET}`,
      commands: images.map(it => `oras cp --recursive --from-oci-layout ${folder}@${it.digest} ${it.target}`),
    },
    skopeo('skopeo copies no referrers.', images, 'oci', path),
    {
      tool: 'regctl',
      about: `Copies images with their referrers. ${TARGET}`,
      commands: images.map(
        it => `regctl image copy --referrers --digest-tags ocidir://${folder}@${it.digest} ${it.target}`,
      ),
    },
    crane('crane pushes', isWhole, [craneCommand(folder)]),
    containerd('-', packed, isWhole),
    docker(`${packed}docker load`),
  ];
}

function skopeo(about: string, images: readonly NamedImage[], transport: string, path: string): ToolCommands {
  // It takes the first colon for the end of the path (containers-transports, oci and oci-archive).
  if (path.includes(':'))
    return { tool: 'skopeo', about: 'skopeo takes no path with a colon: rename the bundle.', commands: [] };
  // It takes no name with the IPv6 address of a host.
  const isReadable = ({ name, mediaType }: NamedImage): boolean =>
    TYPES_OF_SKOPEO.includes(mediaType) && !name.startsWith('[');
  const readable = images.filter(isReadable);
  const others = images.filter(image => !readable.includes(image)).map(({ name }) => name);
  const names = `${others.slice(0, 5).join(', ')}${others.length > 5 ? ` and ${others.length - 5} more` : ''}`;
  const lacking = `It does not find images with Docker's media types or from an IPv6 address: copy ${names} with ORAS or plugin-mirror push.`;
  return {
    tool: 'skopeo',
    about: [about, TARGET, ...(others.length === 0 ? [] : [lacking])].join(' '),
    commands: readable.map(
      ({ name, target }) =>
        `skopeo copy --all --preserve-digests ${quoted(`${transport}:${path}:${name}`)} docker://${target}`,
    ),
  };
}

/** Tools that copy index.json as a whole fail at the first manifest that is not there. */
const WHOLE_ONLY = 'reads whole bundles only: this one leaves images to its base (--since).';

function crane(about: string, isWhole: boolean, commands: readonly string[]): ToolCommands {
  return isWhole
    ? { tool: 'crane', about: `${about} everything into one repository, by digest.`, commands }
    : { tool: 'crane', about: `crane ${WHOLE_ONLY}`, commands: [] };
}

function craneCommand(folder: string): string {
  return `crane push --index ${folder} "$REGISTRY/plugin-mirror/bundle:latest"`;
}

function containerd(file: string, before: string, isWhole: boolean): ToolCommands {
  return isWhole
    ? {
        tool: 'ctr',
        about: 'Loads all images into the containerd of a node, for its kubelet.',
        commands: [`${before}ctr --namespace k8s.io images import --no-unpack ${file}`],
      }
    : { tool: 'ctr', about: `ctr ${WHOLE_ONLY}`, commands: [] };
}

function docker(command: string): ToolCommands {
  return {
    tool: 'docker',
    about: 'Docker needs the containerd image store: its classic store cannot hold artifacts.',
    commands: [command],
  };
}

/** undefined for an entry without a full name, such as a referrer: it is copied with the image that it refers to. */
function namedImage(entry: LayoutEntry): NamedImage | undefined {
  const name = nameOf(entry);
  const [, path] = /^[^/]+\/(.+[:@].+)$/.exec(name ?? '') ?? [];
  if (name === undefined || path === undefined) return undefined;
  return { name, digest: entry.digest, mediaType: entry.mediaType, target: `"$REGISTRY/${path}"` };
}

/** A word for a POSIX shell. */
function quoted(word: string): string {
  return /^[\w./:@+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
