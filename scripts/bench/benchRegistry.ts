import process from 'node:process';
import { imageFormA, imageFormB, imageFormC, imageFormD, type TestImage } from '../../test/support/images.ts';
import { buildModule } from '../../test/support/module.ts';
import { startRegistry } from '../../test/support/registry.ts';

/** The one message of this process to its parent. */
export interface BenchRegistry {
  readonly host: string;
  readonly images: readonly {
    readonly name: string;
    readonly version: string;
    readonly layer: string;
    readonly gzip: boolean;
  }[];
  readonly wireBytes: number;
  readonly moduleBytes: number;
}

/**
 * An OCI registry in a process of its own, so that the program under test has a core for itself. Sizes and forms are those of
 * Higress' plugins: many small raw C++ and Rust modules, and Go modules of 2 to 30 MB, most of them tar+gzip.
 */
async function main(): Promise<void> {
  const [count = '86', rttMs = '40'] = process.argv.slice(2);
  const registry = await startRegistry({ auth: { kind: 'bearer', anonymous: true }, latencyMs: Number(rttMs) });
  const images: { name: string; version: string; layer: string; gzip: boolean }[] = [];
  let wireBytes = 0;
  let moduleBytes = 0;
  for (let index = 0; index < Number(count); index += 1) {
    const name = `bench-${String(index).padStart(4, '0')}`;
    const wasm = buildModule({ sizeBytes: sizeOf(index), seed: name });
    const image = imageFor(index, wasm);
    registry.push(`plugins/${name}`, '1.0.0', image);
    const [layer, bytes] = [...image.blobs].reduce((largest, blob) =>
      blob[1].length > largest[1].length ? blob : largest,
    );
    images.push({ name, version: '1.0.0', layer, gzip: bytes[0] === 0x1f });
    wireBytes += bytes.length;
    moduleBytes += wasm.length;
  }
  const message: BenchRegistry = { host: registry.host, images, wireBytes, moduleBytes };
  process.send?.(message);
  process.on('disconnect', () => void registry.close());
}

function sizeOf(index: number): number {
  if (index % 4 === 0) return 40_000 + (index % 9) * 170_000;
  if (index % 17 === 3) return 30_000_000;
  return 3_000_000 + ((index * 7) % 12) * 950_000;
}

function imageFor(index: number, wasm: Buffer): TestImage {
  if (index % 4 === 0) return imageFormB({ wasm });
  if (index % 7 === 2) return imageFormC({ wasm });
  if (index % 11 === 5) return imageFormD({ wasm });
  return imageFormA({ wasm, readme: '# plugin\n', spec: 'info: {}\n' });
}

main().catch(error => {
  process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
  process.exit(1);
});
