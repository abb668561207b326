import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { openScene } from '../support/cli.ts';
import { imageFormA, imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { sample, slowUnless } from '../support/slow.ts';

/** Loaded before the command: the LIE-th large read of a file has one other byte, as from a failing disk or memory. */
const LYING = `
import { open } from 'node:fs/promises';
import { writeFileSync } from 'node:fs';
const handle = await open(process.execPath);
const prototype = Object.getPrototypeOf(handle);
await handle.close();
const { read } = prototype;
let large = 0;
prototype.read = async function (...args) {
  const result = await read.apply(this, args);
  if (result.bytesRead > 200_000 && ++large === Number(process.env.LIE)) {
    result.buffer[150_000] ^= 1;
    writeFileSync(process.env.LIED, '');
  }
  return result;
};
`;

const wasm = buildModule({ seed: 'lie', sizeBytes: 4_500_000 });

describe('a disk that returns another byte once', () => {
  for (const [form, image] of [
    ['a raw module', imageFormC({ wasm })],
    ['a compressed layer', imageFormA({ wasm })],
  ] as const)
    it(`never publishes it: ${form}`, slowUnless(form === 'a compressed layer'), async t => {
      const scene = await openScene(t);
      scene.push('a', '1.0.0', image);
      await scene.list({ a: '1.0.0' });
      await scene.write('lying.mjs', LYING);
      const module = scene.path('plugins/a/1.0.0/plugin.wasm');
      const preload = `--import ${pathToFileURL(scene.path('lying.mjs'))}`;
      let lies = 0;
      for (const at of sample([1, 2, 3, 4, 5, 6, 7, 8])) {
        const lied = scene.path(`lied-${at}`);
        const run = [scene.path(`home-${at}`), scene.path(`plugins-${at}`)] as const;
        const env = { NODE_OPTIONS: preload, LIE: String(at), LIED: lied, XDG_CACHE_HOME: run[0] };
        const ran = await scene.start(['sync', '--out', run[1], '--no-lock'], { env }).ended;
        const path = module.replace('/plugins/', `/plugins-${at}/`);
        if (existsSync(path)) assert.ok(wasm.equals(await readFile(path)), `the read ${at} was published`);
        assert.equal(ran.code, existsSync(path) ? 0 : 1, ran.stderr);
        if (!existsSync(lied)) break;
        lies++;
        if (ran.code === 1) assert.match(ran.stderr, /other bytes of a blob than it was given/);
        const again = await scene.start(['sync', '--out', run[1], '--no-lock'], { env: { XDG_CACHE_HOME: run[0] } })
          .ended;
        assert.equal(again.code, 0, again.stderr);
        assert.ok(wasm.equals(await readFile(path)));
      }
      assert.ok(lies > 0, 'no read was changed');
    });
});
