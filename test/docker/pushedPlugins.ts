import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzip, tarOf } from '../support/archive.ts';
import { buildModule } from '../support/module.ts';
import { docker, labRegistry, run } from './lab.ts';

/** The last part of a repository below `plugins/`, and the module that sync must extract from it. */
export interface PushedPlugin {
  readonly name: string;
  readonly version: string;
  readonly wasm: Buffer;
}

type Push = (dir: string, reference: string, wasm: Buffer) => Promise<unknown>;

const T = 'application/vnd.oci.image.layer.v1.tar+gzip';
const W = 'application/vnd.module.wasm.content.layer.v1+wasm';

const FORMS: Readonly<Record<string, Push>> = {
  async 'form-a'(dir, reference, wasm) {
    await writeFile(join(dir, 'README_EN.md'), '# Form A\n');
    await writeFile(join(dir, 'spec.yaml'), 'apiVersion: 1.0.0\n');
    await writeFile(join(dir, 'plugin.tar.gz'), gzip(tarOf([{ name: 'plugin.wasm', body: wasm }])));
    const documents = [
      'README_EN.md:application/vnd.module.wasm.doc.v1.EN+markdown',
      'spec.yaml:application/vnd.module.wasm.spec.v1+yaml',
    ];
    return oras(dir, reference, ...documents, `plugin.tar.gz:${T}`);
  },
  async 'form-b'(dir, reference, wasm) {
    await writeFile(join(dir, 'config.json'), '{}');
    await writeFile(join(dir, 'form_b.wasm'), wasm);
    return oras(dir, reference, 'config.json:application/vnd.module.wasm.config.v1+json', `form_b.wasm:${W}`);
  },
  async 'form-c'(dir, reference, wasm) {
    await writeFile(join(dir, 'plugin.wasm'), wasm);
    return oras(dir, reference, `plugin.wasm:${W}`);
  },
  async 'form-d'(dir, reference, wasm) {
    await dockerfile(dir, wasm);
    await docker('build', '--quiet', '--provenance=false', '--tag', reference, dir);
    return docker('push', '--quiet', reference);
  },
  async 'form-e'(dir, reference, wasm) {
    await writeFile(join(dir, 'icon.png'), Buffer.from('89504e470d0a1a0a', 'hex'));
    await writeFile(join(dir, 'plugin.tar.gz'), gzip(tarOf([{ name: 'plugin.wasm', body: wasm }])));
    return oras(dir, reference, 'icon.png:application/vnd.module.wasm.icon.v1+png', `plugin.tar.gz:${T}`);
  },
  async 'form-f'(dir, reference, wasm) {
    await dockerfile(dir, wasm);
    const platforms = ['--platform', 'linux/amd64,linux/arm64', '--provenance=true'];
    return docker('buildx', 'build', '--quiet', ...platforms, '--tag', reference, '--push', dir);
  },
};

/** Pushes one image of each form as `plugins/form-X:1.0.0`, with the tools that people use for it. */
export async function pushPlugins(): Promise<PushedPlugin[]> {
  const pushed: PushedPlugin[] = [];
  for (const [name, push] of Object.entries(FORMS)) {
    const dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-push-'));
    try {
      const wasm = buildModule({ seed: name, sizeBytes: 300_000 });
      await push(dir, `${labRegistry}/plugins/${name}:1.0.0`, wasm);
      pushed.push({ name, version: '1.0.0', wasm });
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  }
  return pushed;
}

async function oras(dir: string, reference: string, ...files: readonly string[]): Promise<string> {
  return run('oras', ['push', '--plain-http', '--no-tty', reference, ...files], dir);
}

async function dockerfile(dir: string, wasm: Buffer): Promise<void> {
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, 'main.wasm'), wasm);
  await writeFile(join(dir, 'Dockerfile'), 'FROM scratch\nCOPY main.wasm plugin.wasm\n');
}
