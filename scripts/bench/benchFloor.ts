import { createHash } from 'node:crypto';
import process from 'node:process';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import pMap from 'p-map';
import { Agent, request } from 'undici';
import type { BenchRegistry } from './benchRegistry.ts';

const PARALLEL = 16;

/**
 * The least that any mirror must do: plain GETs of the blobs, 16 at a time, both sha256 computed, inflated, written nowhere. No
 * manifests, no tar, no files. Reads the registry's message from standard input, prints milliseconds.
 */
async function main(): Promise<void> {
  let text = '';
  for await (const chunk of process.stdin) text += chunk;
  const { host, images } = JSON.parse(text) as BenchRegistry;
  const dispatcher = new Agent({ connections: PARALLEL });
  const tokens = await pMap(images, ({ name }) => tokenFor(host, name, dispatcher), { concurrency: PARALLEL });
  const started = performance.now();
  await pMap(images, (image, index) => get(host, image, tokens[index] ?? '', dispatcher), { concurrency: PARALLEL });
  process.stdout.write(`${Math.round(performance.now() - started)}\n`);
  await dispatcher.close();
}

/** Runs before the clock starts: only blobs are measured. */
async function tokenFor(host: string, name: string, dispatcher: Agent): Promise<string> {
  const { body } = await request(
    `http://${host}/token?service=registry.test:cn-test:service&scope=repository:plugins/${name}:pull`,
    { dispatcher },
  );
  return ((await body.json()) as { token: string }).token;
}

async function get(
  host: string,
  image: BenchRegistry['images'][number],
  token: string,
  dispatcher: Agent,
): Promise<void> {
  const url = `http://${host}/v2/plugins/${image.name}/blobs/${image.layer}`;
  const { body, statusCode } = await request(url, { dispatcher, headers: { authorization: `Bearer ${token}` } });
  if (statusCode !== 200) throw new Error(`${url}: ${statusCode}`);
  const stored = createHash('sha256');
  const inflated = createHash('sha256');
  const last = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      inflated.update(chunk);
      done();
    },
  });
  body.on('data', (chunk: Buffer) => stored.update(chunk));
  await (image.gzip ? pipeline(body, createGunzip({ chunkSize: 256 * 1024 }), last) : pipeline(body, last));
  if (`sha256:${stored.digest('hex')}` !== image.layer) throw new Error(`${image.name}: wrong bytes`);
  inflated.digest();
}

main().catch(error => {
  process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
  process.exit(1);
});
