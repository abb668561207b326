import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { Readable } from 'node:stream';
import type { after, TestContext } from 'node:test';
import { type BuiltinEngineOptions, createBuiltinEngine } from '../../registry/builtin/engine.ts';
import type { Engine } from '../../registry/engine.ts';
import type { Descriptor } from '../../registry/image.ts';
import type { Reference } from '../../registry/reference.ts';
import type { RegistryEvent } from '../../registry/registry.ts';
import { digestOf, imageOf, MEDIA, type TestImage } from '../support/images.ts';
import { type RegistryOptions, startRegistry, type TestRegistry } from '../support/registry.ts';

export const SIGNAL = new AbortController().signal;
setMaxListeners(0, SIGNAL);

/** An image with one layer of random bytes, and the layer's descriptor. */
export interface Sample {
  readonly image: TestImage;
  readonly blob: Buffer;
  readonly descriptor: Descriptor;
}

export function sampleImage(sizeBytes = 100_000): Sample {
  const blob = randomBytes(sizeBytes);
  const mediaType = MEDIA.tarGzip;
  const image = imageOf({ layers: [{ mediaType, body: blob }] });
  return { image, blob, descriptor: { mediaType, digest: digestOf(blob), size: blob.length } };
}

export interface Bench extends Sample {
  readonly registry: TestRegistry;
  readonly engine: Engine;
  readonly events: RegistryEvent[];
  readonly reference: Reference;
}

/** A registry with the image `team/plugin:1.0.0`, and an engine with short waits between attempts. */
export async function setUp(
  test: TestContext,
  registryOptions: RegistryOptions = {},
  engineOptions: BuiltinEngineOptions = {},
  sample: Sample = sampleImage(),
): Promise<Bench> {
  const registry = await startRegistry(registryOptions);
  registry.push('team/plugin', '1.0.0', sample.image);
  const { engine, events } = openEngine(test, engineOptions);
  test.after(() => registry.close());
  const reference = { registry: registry.host, repository: 'team/plugin', tag: '1.0.0' };
  return { ...sample, registry, engine, events, reference };
}

export function openEngine(
  test: Pick<TestContext, 'after'> | { readonly after: typeof after },
  options: BuiltinEngineOptions = {},
): { readonly engine: Engine; readonly events: RegistryEvent[] } {
  const events: RegistryEvent[] = [];
  const engine = createBuiltinEngine({
    backoffMs: 1,
    certsDir: '/nowhere',
    onEvent: event => events.push(event),
    ...options,
  });
  test.after(() => engine.close());
  return { engine, events };
}

export async function readAll(body: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The blob's bytes from one call of the engine. */
export async function fetchWhole(
  { engine, reference, descriptor }: Bench,
  offset = 0,
): Promise<{ offset: number; bytes: Buffer }> {
  const { offset: from, body } = await engine.fetchBlob(reference, descriptor, offset, SIGNAL);
  return { offset: from, bytes: await readAll(body) };
}

/** All text of an error and its causes, to search for secrets. */
export function everythingOf(error: unknown): string {
  const parts: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) parts.push(String(at.stack), JSON.stringify({ ...at }));
  return parts.join('\n');
}
