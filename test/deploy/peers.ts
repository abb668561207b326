import { spawnSync } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import process from 'node:process';

export const deploy = resolve(import.meta.dirname, '../../deploy');

export function has(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
}

/**
 * Why tests with these programs (`a|b` is either) cannot run here; false if they can. With PLUGIN_MIRROR_TEST_PEERS=1 they
 * must.
 */
export function without(...programs: readonly string[]): string | false {
  if (process.env.PLUGIN_MIRROR_TEST_PEERS === '1') return false;
  const missing = programs.filter(either => !either.split('|').some(has));
  return missing.length === 0 ? false : `${missing.join(' and ')} not found`;
}

/** Runs a program. @throws with its output if it fails */
export function run(program: string, words: readonly string[], input = ''): string {
  const { status, stdout, stderr, error } = spawnSync(program, words, { input, encoding: 'utf8', maxBuffer: 2 ** 26 });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${program} ${words[0]} ended with ${status}: ${stdout}${stderr}`);
  return stdout;
}

/** Schemas of Kubernetes by version, as the Python package kubernetes-validate has them; undefined without that package. */
export const schemaFolder = process.env.PLUGIN_MIRROR_TEST_KUBERNETES_SCHEMAS;

const KINDS = [
  'configmap-v1',
  'deployment-apps-v1',
  'horizontalpodautoscaler-autoscaling-v2',
  'ingress-networking-v1',
  'networkpolicy-networking-v1',
  'pod-v1',
  'poddisruptionbudget-policy-v1',
  'service-v1',
  'serviceaccount-v1',
];

interface Schema {
  readonly $schema?: string;
  readonly $defs?: Readonly<Record<string, object>>;
}

/**
 * Writes the package's strict schemas into `target` in the form that kubeconform reads: each with its definitions inside.
 * Returns the versions, from 1.28 on.
 */
export async function writeSchemas(source: string, target: string): Promise<string[]> {
  const found = (await readdir(source)).flatMap(name => /^v(1\.(\d+)\.0)-local-strict$/.exec(name)?.[1] ?? []);
  const versions = found.filter(version => Number(version.split('.')[1]) >= 28);
  for (const version of versions) {
    const read = async (name: string): Promise<Schema> => {
      const text = await readFile(join(source, `v${version}-local-strict`, `${name}.json`), 'utf8');
      return JSON.parse(text.replaceAll(/"(?:[\w/]*_definitions\.json)?#\/\$defs\//g, '"#/definitions/')) as Schema;
    };
    const { $defs = {} } = await read('_definitions');
    await mkdir(join(target, `v${version}`), { recursive: true });
    for (const kind of KINDS) {
      const { $schema: _, ...schema } = await read(kind);
      const definitions: Record<string, object> = {};
      const add = (part: object): void => {
        for (const [, name = ''] of JSON.stringify(part).matchAll(/"#\/definitions\/([^"]+)"/g)) {
          const definition = $defs[name];
          if (definition === undefined || name in definitions) continue;
          definitions[name] = definition;
          add(definition);
        }
      };
      add(schema);
      await writeFile(join(target, `v${version}`, `${kind}.json`), JSON.stringify({ ...schema, definitions }));
    }
  }
  return versions;
}
