import {
  imageFormA,
  imageFormB,
  imageFormC,
  imageFormD,
  imageFormE,
  indexOf,
  type TestImage,
} from '../test/support/images.ts';
import { buildModule } from '../test/support/module.ts';
import type { TestRegistry } from '../test/support/registry.ts';

interface Sample {
  readonly versions: readonly string[];
  readonly aliases?: Readonly<Record<string, string>>;
  readonly image: (wasm: Buffer) => TestImage;
  readonly sizeBytes: number;
}

const CREATED = '2026-01-15T08:00:00Z';

/** Valid modules in the image forms and about the sizes of real plugins. */
const SAMPLES: Readonly<Record<string, Sample>> = {
  'sample-ai-proxy': {
    versions: ['2.0.1'],
    sizeBytes: 14_000_000,
    image: wasm => imageFormA({ wasm, created: CREATED, readmeEn: README, spec: SPEC }),
  },
  'sample-basic-auth': {
    versions: ['2.0.0'],
    aliases: { '1.0.0': '2.0.0' },
    sizeBytes: 900_000,
    image: wasm => imageFormB({ wasm, created: CREATED, title: 'basic_auth.wasm' }),
  },
  'sample-cors': { versions: ['2.0.2'], sizeBytes: 4_000_000, image: wasm => imageFormC({ wasm, created: CREATED }) },
  'sample-my-own': { versions: ['0.1.0'], sizeBytes: 2_500_000, image: wasm => imageFormD({ wasm, created: CREATED }) },
  'sample-waf': {
    versions: ['2.0.0', '2.0.1'],
    sizeBytes: 9_000_000,
    image: wasm => imageFormE({ wasm, created: CREATED, spec: SPEC }),
  },
  'sample-multi-arch': {
    versions: ['1.0.0'],
    sizeBytes: 6_000_000,
    image: wasm => {
      const image = imageFormD({ wasm, created: CREATED });
      return indexOf(
        [
          { platform: 'linux/amd64', image },
          { platform: 'linux/arm64', image },
        ],
        { attestations: true },
      );
    },
  },
};

/** Pushes the samples. Returns a manifest that names them. */
export function pushSamples(registry: TestRegistry): { registry: string; plugins: Record<string, unknown> } {
  const plugins: Record<string, unknown> = {};
  for (const [name, { versions, aliases, image, sizeBytes }] of Object.entries(SAMPLES)) {
    for (const version of versions) {
      const wasm = buildModule({ sizeBytes, seed: `${name} ${version}` });
      registry.push(`plugins/${name}`, version, image(wasm));
    }
    plugins[name] = aliases === undefined ? (versions.length === 1 ? versions[0] : versions) : { versions, aliases };
  }
  return { registry: registry.host, plugins };
}

const README = `# A sample plugin

It does nothing, but it is a valid Proxy-Wasm module, pushed the way the official Go plugins are: a README, a spec.yaml and
a plugin.tar.gz as layers of one image.
`;

const SPEC = `apiVersion: 1.0.0
info:
  category: sample
  name: sample
  title: Sample
  version: 2.0.1
  description: A sample plugin that does nothing.
spec:
  phase: default
  priority: 100
`;
