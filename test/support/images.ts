import { gzip, type TarEntry, tarOf } from './archive.ts';
import { digestOf, imageOf, type LayerInput, MEDIA, type PluginInput, type TestImage, tarLayer } from './image.ts';

export { gzip, type TarEntry, tarOf, zstd } from './archive.ts';
export { type Digest, digestOf, imageOf, indexOf, type LayerInput, MEDIA, type TestImage } from './image.ts';

/** Form A: `oras push` of README_EN.md, README.md, spec.yaml (those that are given) and plugin.tar.gz. */
export function imageFormA(input: PluginInput): TestImage {
  return orasImage(input, { readme: MEDIA.readme, readmeEn: MEDIA.readmeEn }, MEDIA.unknownConfig);
}

/** Form E: `hgctl plugin`: as A, with lower-case languages in the doc types, and an icon. */
export function imageFormE(input: PluginInput): TestImage {
  const readme = 'application/vnd.module.wasm.doc.v1.zh+markdown';
  const readmeEn = 'application/vnd.module.wasm.doc.v1.en+markdown';
  return orasImage(input, { readme, readmeEn }, MEDIA.empty);
}

/** Form B: config.json and a raw module, whose title is that of the C++ build. */
export function imageFormB(input: PluginInput & { readonly title?: string }): TestImage {
  const layers: LayerInput[] = [
    { mediaType: MEDIA.wasmConfig, body: Buffer.from('{}'), title: 'config.json' },
    { mediaType: MEDIA.wasm, body: input.wasm, title: input.title ?? 'plugin.wasm' },
  ];
  return imageOf({
    config: { mediaType: MEDIA.unknownConfig, body: Buffer.from('{}') },
    layers: titled(layers, input),
    ...annotated(input),
    wasm: input.wasm,
  });
}

/** Form C: one raw module and the source it was built from. */
export function imageFormC(input: PluginInput & { readonly revision?: string; readonly version?: string }): TestImage {
  const annotations = {
    'org.opencontainers.image.revision': input.revision ?? '0123456789abcdef0123456789abcdef01234567',
    'org.opencontainers.image.version': input.version ?? '1.0.0',
    ...input.annotations,
  };
  return imageOf({
    layers: titled([{ mediaType: MEDIA.wasm, body: input.wasm, title: 'plugin.wasm' }], input),
    ...annotated({ ...input, annotations }),
    wasm: input.wasm,
  });
}

export interface DockerInput {
  /** Each layer's entries, or its finished tar. Default: one layer that holds `wasm` as plugin.wasm. */
  readonly layers?: readonly (readonly TarEntry[] | Buffer)[];
  /** The module that must come out. */
  readonly wasm?: Buffer;
  /** Media types as Docker writes them (true) or as OCI does (false). Default true. */
  readonly docker?: boolean;
  /** RFC 3339 text in the config. Default 1970. */
  readonly created?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Form D: what `docker build` makes of `FROM scratch` and `COPY main.wasm plugin.wasm`. Never titled. */
export function imageFormD(input: DockerInput): TestImage {
  const docker = input.docker !== false;
  const layers = input.layers ?? [[{ name: 'plugin.wasm', body: input.wasm ?? Buffer.alloc(0) }]];
  const tars = layers.map(layer => (Buffer.isBuffer(layer) ? layer : tarOf(layer)));
  const config = {
    architecture: 'amd64',
    os: 'linux',
    created: input.created ?? '1970-01-01T00:00:00Z',
    config: {},
    rootfs: { type: 'layers', diff_ids: tars.map(tar => digestOf(tar)) },
  };
  return imageOf({
    mediaType: docker ? MEDIA.dockerManifest : MEDIA.manifest,
    config: {
      mediaType: docker ? MEDIA.dockerConfig : MEDIA.ociConfig,
      body: Buffer.from(JSON.stringify(config)),
    },
    layers: tars.map(tar => ({ mediaType: docker ? MEDIA.dockerTarGzip : MEDIA.tarGzip, body: gzip(tar) })),
    ...(input.annotations ? { annotations: input.annotations } : {}),
    ...(input.wasm ? { wasm: input.wasm } : {}),
  });
}

function orasImage(input: PluginInput, docs: { readme: string; readmeEn: string }, configType: string): TestImage {
  const layers: LayerInput[] = [];
  const add = (title: string, mediaType: string, body: Buffer | string | undefined) => {
    if (body !== undefined) layers.push({ mediaType, body: Buffer.from(body), title });
  };
  add('README_EN.md', docs.readmeEn, input.readmeEn);
  add('README.md', docs.readme, input.readme);
  add('spec.yaml', MEDIA.spec, input.spec);
  add('icon.png', MEDIA.icon, input.icon);
  const entries = input.entries ?? [{ name: input.entryName ?? 'plugin.wasm', body: input.wasm, mode: 0o755 }];
  const compression = input.compression ?? 'gzip';
  const suffix = { gzip: '.gz', zstd: '.zst', none: '' }[compression];
  layers.push({ ...tarLayer(entries, compression), title: `plugin.tar${suffix}` });
  return imageOf({
    config: { mediaType: configType, body: Buffer.from('{}') },
    layers: titled(layers, input),
    ...annotated(input),
    wasm: input.wasm,
  });
}

function titled(layers: readonly LayerInput[], input: PluginInput): LayerInput[] {
  if (input.untitled !== true) return [...layers];
  return layers.map(({ mediaType, body }) => ({ mediaType, body }));
}

function annotated(input: PluginInput): { annotations?: Record<string, string> } {
  const created = input.created === undefined ? {} : { 'org.opencontainers.image.created': input.created };
  const annotations = { ...created, ...input.annotations };
  return Object.keys(annotations).length === 0 ? {} : { annotations };
}
