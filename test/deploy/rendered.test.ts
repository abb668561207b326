import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { slow } from '../support/slow.ts';
import { deploy, has, run, schemaFolder, without, writeSchemas } from './peers.ts';

const chart = join(deploy, 'chart');
const skip = (...programs: string[]) => {
  const missing = without(...programs);
  return missing === false ? {} : { skip: missing };
};

interface Resource {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels: Record<string, string> };
}

const resourcesOf = (text: string): Resource[] =>
  parseAllDocuments(text).flatMap(document => (document.toJS() as Resource | null) ?? []);

/** By kubectl, or by the program that it contains. */
const kustomize = (folder: string) => {
  const words = has('kubectl') ? ['kubectl', 'kustomize'] : ['kustomize', 'build'];
  return run('env', [...words, join(deploy, 'kubernetes', folder)]);
};

/** `helm template` in the namespace of the kustomize base, each of the settings by `--set`. */
const template = (...settings: readonly string[]) =>
  run('helm', ['template', 'mirror', chart, '--namespace', 'higress-system', ...settings.flatMap(it => ['--set', it])]);

/** Settings that change what is rendered, apart from single values. */
const STRUCTURES: Readonly<Record<string, readonly string[]>> = {
  'the defaults': [],
  'a digest': [`image.digest=sha256:${'a'.repeat(64)}`],
  'a claim': ['tree.from=claim', 'tree.claim.name=plugins', 'tree.claim.subPath=tree'],
  'an image volume': ['tree.from=imageVolume', 'tree.imageVolume.reference=registry.example.com/plugins:1'],
  'an init container': ['tree.from=sync', 'tree.sync.manifest=text'],
  'a frozen init container with a login': [
    'tree.from=sync',
    'tree.sync.manifest=text',
    'tree.sync.lock=text',
    'tree.sync.registrySecret=login',
    'tree.sync.args[0]=--only',
    'tree.sync.args[1]=ai-*',
  ],
  TLS: ['tls.secretName=certificate', 'serviceMonitor.enabled=true'],
  'an ingress below a path': ['basePath=/plugins', 'ingress.enabled=true', 'ingress.tlsSecretName=host'],
  'an ingress at the root': ['ingress.enabled=true', 'ingress.className='],
  autoscaling: ['autoscaling.enabled=true'],
  monitoring: ['serviceMonitor.enabled=true', 'serviceMonitor.labels.release=prometheus'],
  'neither budget nor policy': ['podDisruptionBudget.enabled=false', 'networkPolicy.enabled=false'],
  'options of the pods': [
    'imagePullSecrets[0].name=login',
    'podAnnotations.a=b',
    'podLabels.c=d',
    'priorityClassName=system-cluster-critical',
    'nodeSelector.zone=a',
    'tolerations[0].operator=Exists',
    'affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight=1',
    'affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key=a',
    'affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].operator=Exists',
    'env.PLUGIN_MIRROR_LATEST=true',
    'service.type=NodePort',
    'service.port=8080',
    'fullnameOverride=',
  ],
};

const OVERLAYS = ['.', 'overlays/hpa', 'overlays/ingress', 'overlays/service-monitor', 'overlays/tls'];

describe('the chart', skip('helm'), () => {
  it('is linted without a complaint', () => {
    const text = run('helm', ['lint', '--strict', chart]);
    assert.doesNotMatch(text, /\[(?:WARNING|ERROR)\]/);
  });

  it('refuses values that are unknown, of a wrong type, or that would fail later', () => {
    for (const [settings, expected] of [
      [['image.tag=latest'], /\/image\/tag/],
      [['image.tga=1.0.0'], /'tga' not allowed/],
      [['image.digest=abc'], /\/image\/digest/],
      [['image.repository=registry.example.com/plugins:1.0.0'], /\/image\/repository/],
      [['replicas=two'], /\/replicas/],
      [['replicas=0'], /\/replicas/],
      [['basePath=plugins/'], /\/basePath/],
      [['env.LATEST=true'], /'LATEST' not allowed/],
      [['tree.from=volume'], /\/tree\/from/],
      [['tree.from=claim'], /\/tree\/claim\/name/],
      [['tree.from=imageVolume'], /\/tree\/imageVolume\/reference/],
      [['tree.from=sync'], /\/tree\/sync\/manifest/],
      [['service.port=70000'], /\/service\/port/],
      [['resources.limits.memory=lots'], /\/resources\/limits\/memory/],
      [['autoscaling.enabled=yes please'], /\/autoscaling\/enabled/],
    ] as const)
      assert.throws(() => template(...settings), expected, settings.join());
  });

  it('explains the settings of Console and Controller for the address that it makes', async t => {
    // Helm shows the notes of an installation only, so here they are a template like the others.
    const copy = await mkdtemp(join(tmpdir(), 'plugin-mirror-chart-'));
    t.after(() => rm(copy, { recursive: true, force: true }));
    await cp(chart, copy, { recursive: true });
    await rename(join(copy, 'templates/NOTES.txt'), join(copy, 'notes.txt'));
    await writeFile(
      join(copy, 'templates/notes.yaml'),
      '{{ dict "notes" (tpl (.Files.Get "notes.txt") .) | toYaml }}\n',
    );
    const settings = ['--set', 'tls.secretName=certificate,basePath=/mirror', '--show-only', 'templates/notes.yaml'];
    const { notes } = parse(run('helm', ['template', 'mirror', copy, '-n', 'higress-system', ...settings])) as {
      notes: string;
    };
    const base = 'https://higress-plugin-server.higress-system.svc/mirror/plugins';
    assert.ok(
      notes.includes(`CUSTOM_IMAGE_URL_PATTERN: '${base}/\${name}/\${version}/plugin.wasm'`),
      notes.slice(-1500),
    );
    assert.ok(notes.includes(`MCP_SERVER_WASM_IMAGE_URL: '${base}/mcp-server/1.0.0/plugin.wasm'`));
  });

  for (const [what, settings] of Object.entries(STRUCTURES))
    it(`runs every container under the restricted Pod Security Standard: ${what}`, () => {
      let pods = 0;
      for (const resource of resourcesOf(template(...settings))) {
        const spec = podOf(resource);
        if (spec === undefined) continue;
        pods += 1;
        assert.deepEqual(
          [spec.securityContext.runAsNonRoot, spec.securityContext.seccompProfile.type],
          [true, 'RuntimeDefault'],
        );
        assert.equal(spec.automountServiceAccountToken, false);
        for (const container of [...spec.containers, ...(spec.initContainers ?? [])]) {
          assert.deepEqual(container.securityContext, {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          });
          assert.ok(container.resources.limits.memory !== '');
          assert.doesNotMatch(container.image, /:latest$|^[^:@]+$/);
        }
      }
      assert.equal(pods, 2, 'the server, and the test of helm');
    });
});

interface PodSpec {
  readonly automountServiceAccountToken: boolean;
  readonly securityContext: { readonly runAsNonRoot: boolean; readonly seccompProfile: { readonly type: string } };
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
}

interface Container {
  readonly image: string;
  readonly resources: { readonly limits: { readonly memory: string } };
  readonly securityContext: object;
}

function podOf(resource: Resource): PodSpec | undefined {
  if (resource.kind === 'Pod') return (resource as Resource & { spec: PodSpec }).spec;
  if (resource.kind !== 'Deployment') return undefined;
  return (resource as Resource & { spec: { template: { spec: PodSpec } } }).spec.template.spec;
}

describe('the chart and the kustomize base', skip('helm', 'kubectl|kustomize'), () => {
  /** Without the labels that only Helm sets, and in one order. */
  const comparable = (text: string) =>
    resourcesOf(text)
      .filter(({ kind }) => kind !== 'Pod')
      .map(resource => {
        const { 'app.kubernetes.io/managed-by': _, 'helm.sh/chart': __, ...labels } = resource.metadata.labels;
        return { ...resource, metadata: { ...resource.metadata, labels } };
      })
      .sort((a, b) => a.kind.localeCompare(b.kind));

  for (const [overlay, settings] of [
    ['.', []],
    ['overlays/hpa', ['autoscaling.enabled=true']],
    ['overlays/service-monitor', ['serviceMonitor.enabled=true']],
    [
      'overlays/ingress',
      ['basePath=/higress-plugins', 'ingress.enabled=true', 'ingress.tlsSecretName=plugins-example-com-tls'],
    ],
    ['overlays/tls', ['tls.secretName=higress-plugin-server-tls']],
  ] as const)
    it(`make the same resources: ${overlay}`, () => {
      assert.deepEqual(comparable(template(...settings)), comparable(kustomize(overlay)));
    });
});

const withoutSchemas =
  schemaFolder === undefined
    ? without('kubernetes-validate') && 'no schemas of Kubernetes'
    : without('helm', 'kubectl|kustomize', 'kubeconform');
describe('every resource', withoutSchemas === false ? {} : { skip: withoutSchemas }, () => {
  let folder: string;
  let versions: string[];
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'plugin-mirror-schemas-'));
    assert.ok(
      schemaFolder !== undefined,
      'PLUGIN_MIRROR_TEST_KUBERNETES_SCHEMAS is the folder kubernetes-json-schema of the Python package kubernetes-validate',
    );
    versions = await writeSchemas(schemaFolder, folder);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('is valid for Kubernetes 1.28 to the newest', slow, () => {
    assert.ok(versions.length >= 10, versions.join());
    const all = [...OVERLAYS.map(kustomize), ...Object.values(STRUCTURES).map(settings => template(...settings))];
    // Without the test's image volume, which Kubernetes knows from 1.31 on.
    const old = all.filter(text => !/^ +image:\n/m.test(text));
    const location = join(folder, '{{.NormalizedKubernetesVersion}}/{{.ResourceKind}}{{.KindSuffix}}.json');
    for (const version of versions) {
      const words = ['-strict', '-summary', '-skip', 'ServiceMonitor', '-schema-location', location];
      const text = (Number(version.split('.')[1]) < 31 ? old : all).join('\n---\n');
      assert.match(run('kubeconform', [...words, '-kubernetes-version', version], text), /Invalid: 0, Errors: 0/);
    }
    assert.throws(() =>
      run(
        'kubeconform',
        ['-strict', '-schema-location', location, '-kubernetes-version', '1.30.0'],
        String(all[0]).replace('replicas:', 'replicass:'),
      ),
    );
  });
});

it('no file of deploy/ uses the tag latest', async () => {
  const names = (await readdir(deploy, { recursive: true })).filter(name => /\.ya?ml$/.test(name));
  for (const name of names) assert.doesNotMatch(await readFile(join(deploy, name), 'utf8'), /:latest\b/, name);
});

it('the versions of the chart and of the package are one', async () => {
  const { version } = JSON.parse(await readFile(join(deploy, '../package.json'), 'utf8')) as { version: string };
  const about = parse(await readFile(join(chart, 'Chart.yaml'), 'utf8')) as { version: string; appVersion: string };
  assert.deepEqual([about.version, about.appVersion], [version, version]);
});
