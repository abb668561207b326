import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
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
  return run('env', [...words, resolve(deploy, 'kubernetes', folder)]);
};

/** `helm template` in the namespace of the kustomize base, each of the settings by `--set`, or `--set-literal` after `literal:`. */
const template = (...settings: readonly string[]) =>
  run('helm', [
    ...['template', 'mirror', chart, '--namespace', 'higress-system'],
    ...settings.flatMap(it => (it.startsWith('literal:') ? ['--set-literal', it.slice(8)] : ['--set', it])),
  ]);

/** `helm template` with a values file of these values, where numbers are read as YAML reads them. */
const templateOf = (values: object, ...words: readonly string[]) =>
  run(
    'helm',
    ['template', 'mirror', chart, '--namespace', 'higress-system', '--values', '-', ...words],
    JSON.stringify(values),
  );

/** Settings that change what is rendered, apart from single values. */
const STRUCTURES: Readonly<Record<string, readonly string[]>> = {
  'the defaults': [],
  'a digest': [`image.digest=sha256:${'a'.repeat(64)}`],
  'a claim': ['tree.from=claim', 'tree.claim.name=plugins', 'tree.claim.subPath=tree'],
  'an image volume': ['tree.from=imageVolume', 'tree.imageVolume.reference=registry.example.com/plugins:1'],
  'an init container': ['tree.from=sync', 'literal:tree.sync.manifest={}'],
  'a frozen init container with a login': [
    'tree.from=sync',
    'literal:tree.sync.manifest={}',
    'literal:tree.sync.lock={}',
    'tree.sync.registrySecret=login',
    'tree.sync.args[0]=--only',
    'tree.sync.args[1]=ai-*',
  ],
  TLS: [
    'tls.secretName=certificate',
    'serviceMonitor.enabled=true',
    'ingress.enabled=true',
    'ingress.host=*.example.com',
  ],
  'an ingress below a path': ['basePath=/plugins', 'ingress.enabled=true', 'ingress.tlsSecretName=host'],
  'an ingress at the root': ['ingress.enabled=true', 'ingress.className='],
  autoscaling: ['autoscaling.enabled=true'],
  monitoring: ['serviceMonitor.enabled=true', 'serviceMonitor.labels.release=prometheus'],
  'a policy without peers': ['networkPolicy.from=null'],
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

/** Components of kustomize with the values of the chart for the same. TLS comes last, as docs/kubernetes.md says. */
const COMPONENTS: Readonly<Record<string, readonly string[]>> = {
  hpa: ['autoscaling.enabled=true'],
  'service-monitor': ['serviceMonitor.enabled=true'],
  ingress: ['basePath=/higress-plugins', 'ingress.enabled=true', 'ingress.tlsSecretName=plugins-example-com-tls'],
  tls: ['tls.secretName=higress-plugin-server-tls'],
};

const OVERLAYS = ['.', ...Object.keys(COMPONENTS).map(name => `overlays/${name}`)];

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
      [['resources.limits.memory=1..2Gi'], /\/resources\/limits\/memory/],
      [['tree.sync.sizeLimit=2GiB'], /\/tree\/sync\/sizeLimit/],
      [['tree.claim.subPath=../x'], /\/tree\/claim\/subPath/],
      [['tree.imageVolume.subPath=a/..'], /\/tree\/imageVolume\/subPath/],
      [['tree.imageVolume.reference=Not An Image'], /\/tree\/imageVolume\/reference/],
      [['tree.imageVolume.reference=x: y'], /\/tree\/imageVolume\/reference/],
      [['basePath=/a/../b'], /\/basePath/],
      [['ingress.host=a..b'], /\/ingress\/host/],
      [['ingress.className=a: b'], /\/ingress\/className/],
      [['podLabels.a=b c'], /\/podLabels\/a/],
      [['networkPolicy.from[0]='], /\/networkPolicy\/from\/0/],
      [['fullnameOverride=1st'], /\/fullnameOverride/],
      [['podLabels.app=other'], /podLabels\.app: .*fullnameOverride/],
      [['serviceMonitor.labels.higress=other'], /serviceMonitor\.labels: .*higress/],
      [['literal:podAnnotations.checksum/manifest=1'], /podAnnotations: .*checksum\/manifest/],
      [
        ['autoscaling.enabled=true', 'autoscaling.minReplicas=7'],
        /minReplicas: 7 is more than autoscaling\.maxReplicas, 6/,
      ],
      [['env.PLUGIN_MIRROR_PORT=9090'], /env\.PLUGIN_MIRROR_PORT: .*service\.port/],
      [['env.PLUGIN_MIRROR_BASE_PATH=/a'], /env\.PLUGIN_MIRROR_BASE_PATH: .*use basePath/],
      [['env.PLUGIN_MIRROR_TLS_CERT=/a'], /env\.PLUGIN_MIRROR_TLS_CERT: .*use tls\.secretName/],
      [['env.PLUGIN_MIRROR_TREE=/a'], /env\.PLUGIN_MIRROR_TREE: .*use tree\.from/],
      [['env.PLUGIN_MIRROR_HOST=127.0.0.1'], /env\.PLUGIN_MIRROR_HOST: /],
      [['env.PLUGIN_MIRROR_TLS_CLIENT_CA=/a'], /env\.PLUGIN_MIRROR_TLS_CLIENT_CA: .*set tls\.secretName/],
      [['tree.from=sync', 'tree.sync.manifest=notjson'], /tree\.sync\.manifest: expected the text of a JSON object/],
      [['tree.from=sync', 'literal:tree.sync.manifest={}', 'literal:tree.sync.lock={'], /tree\.sync\.lock: expected/],
      [['image=null'], /image\.repository: give the name/],
      [['ingress.enabled=true', 'ingress.host=null'], /ingress\.host: .*give the host name/],
    ] as const)
      assert.throws(() => template(...settings), expected, settings.join());
  });

  it('reads a section that is null as switched off, or as its default', () => {
    const kinds = (...settings: readonly string[]) => resourcesOf(template(...settings)).map(({ kind }) => kind);
    const all = kinds();
    for (const section of ['tree', 'tree.claim', 'tls', 'tls.secretName', 'service', 'ingress', 'autoscaling', 'env'])
      assert.deepEqual(kinds(`${section}=null`), all, section);
    for (const section of ['replicas', 'serviceMonitor', 'podLabels', 'podAnnotations', 'nodeSelector', 'basePath'])
      assert.deepEqual(kinds(`${section}=null`), all, section);
    assert.deepEqual(
      kinds('podDisruptionBudget=null', 'networkPolicy=null'),
      all.filter(kind => kind !== 'PodDisruptionBudget' && kind !== 'NetworkPolicy'),
    );
  });

  it('writes every text as a text, whatever YAML would read in it', () => {
    const text = templateOf(
      {
        tree: { from: 'claim', claim: { name: '123', subPath: 'a: b #c' } },
        priorityClassName: '123',
        tls: { secretName: '1e3' },
        serviceMonitor: { enabled: true, labels: { a: '1' } },
        ingress: { enabled: true, className: '123', host: '*.example.com', tlsSecretName: 'null' },
        podLabels: { a: 'true' },
        podAnnotations: { a: '1' },
        image: { tag: '1.10' },
      },
      '--namespace',
      '123',
    );
    const names: unknown[] = [];
    parseAllDocuments(text).forEach(document => {
      const read = (value: unknown, key: string): void => {
        if (typeof value === 'object' && value !== null)
          for (const [name, inner] of Object.entries(value)) read(inner, name);
        else if (/name$|namespace|secret|host$|subPath|image$|^a$/i.test(key)) names.push(value);
      };
      assert.deepEqual(document.errors, []);
      read(document.toJS(), '');
    });
    for (const name of names) assert.equal(typeof name, 'string', String(name));
    for (const name of [
      '123',
      'a: b #c',
      '1e3',
      '*.example.com',
      'null',
      'registry.example.com/higress/plugin-server:1.10',
    ])
      assert.ok(names.includes(name), name);
  });

  it('writes numbers of a values file in full, and waits as long as the options say', () => {
    const env = { PLUGIN_MIRROR_MAX_DOWNLOADS: 10_000_000, PLUGIN_MIRROR_GRACE: 300.5, PLUGIN_MIRROR_LATEST: true };
    const deployment = resourcesOf(templateOf({ env })).find(({ kind }) => kind === 'Deployment');
    const pod = deployment && podOf(deployment);
    assert.deepEqual(pod?.containers[0]?.env, [
      { name: 'PLUGIN_MIRROR_GRACE', value: '300.5' },
      { name: 'PLUGIN_MIRROR_LATEST', value: 'true' },
      { name: 'PLUGIN_MIRROR_MAX_DOWNLOADS', value: '10000000' },
    ]);
    assert.equal(pod?.terminationGracePeriodSeconds, 3 + 301 + 12);
  });

  it('accepts every quantity of Kubernetes', () => {
    for (const memory of ['256Ti', '1e9', '1.5Gi', '128974848000m', '.5G', '1E6', 268_435_456])
      assert.doesNotThrow(() => templateOf({ resources: { limits: { memory } } }), String(memory));
  });

  it('admits no client if the policy has no peer', () => {
    for (const from of [null, []]) {
      const policy = resourcesOf(templateOf({ networkPolicy: { from } })).find(({ kind }) => kind === 'NetworkPolicy');
      assert.deepEqual((policy as Resource & { spec: { ingress: unknown } }).spec.ingress, []);
    }
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
  readonly terminationGracePeriodSeconds: number;
  readonly securityContext: { readonly runAsNonRoot: boolean; readonly seccompProfile: { readonly type: string } };
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
}

interface Container {
  readonly image: string;
  readonly env?: { readonly name: string; readonly value: string }[];
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
        for (const { env } of podOf(resource)?.containers ?? []) env?.sort((a, b) => a.name.localeCompare(b.name));
        return { ...resource, metadata: { ...resource.metadata, labels } };
      })
      .sort((a, b) => a.kind.localeCompare(b.kind));

  for (const [overlay, settings] of [['.', []], ...Object.entries(COMPONENTS)] as const)
    it(`make the same resources: ${overlay}`, () => {
      const folder = overlay === '.' ? overlay : `overlays/${overlay}`;
      assert.deepEqual(comparable(template(...settings)), comparable(kustomize(folder)));
    });

  it('make the same resources with every combination of components', async t => {
    const combine = await combinations(t);
    const names = Object.keys(COMPONENTS);
    for (let bits = 0; bits < 2 ** names.length; bits += 1) {
      const chosen = names.filter((_, index) => bits & (1 << index));
      if (chosen.length < 2) continue;
      const settings = chosen.flatMap(name => COMPONENTS[name] ?? []);
      assert.deepEqual(comparable(template(...settings)), comparable(await combine(chosen)), chosen.join());
    }
  });

  it('a component that TLS changes cannot be listed after it', async t => {
    const combine = await combinations(t);
    for (const name of ['ingress', 'service-monitor'])
      await assert.rejects(combine(['tls', name]), /httpGet\/scheme failed/, name);
  });
});

/** Returns a function that renders the base with these components, in this order. */
async function combinations(t: TestContext): Promise<(names: readonly string[]) => Promise<string>> {
  const copy = await mkdtemp(join(tmpdir(), 'plugin-mirror-kustomize-'));
  t.after(() => rm(copy, { recursive: true, force: true }));
  await cp(join(deploy, 'kubernetes'), join(copy, 'kubernetes'), { recursive: true });
  return async names => {
    const components = names.map(name => `../kubernetes/components/${name}`);
    await mkdir(join(copy, 'mine'), { recursive: true });
    await writeFile(
      join(copy, 'mine/kustomization.yaml'),
      JSON.stringify({ kind: 'Kustomization', resources: ['../kubernetes/base'], components }),
    );
    return kustomize(join(copy, 'mine'));
  };
}

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
