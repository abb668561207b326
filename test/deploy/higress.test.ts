import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { deploy, run, without } from './peers.ts';

const pattern = 'HIGRESS_ADMIN_WASM_PLUGIN_CUSTOM_IMAGE_URL_PATTERN';
const path = '/plugins/${name}/${version}/plugin.wasm';

/** The fields of Higress' chart that make its plugin server, its Console and its Controller. */
const FIELDS: Readonly<Record<string, string>> = {
  'charts/higress-core/templates/server.yaml': [
    '{{- if .Values.global.enablePluginServer }}',
    'replicas: {{ .Values.pluginServer.replicas }}',
    'image: {{ .Values.pluginServer.hub | default .Values.global.hub }}/higress/{{ .Values.pluginServer.image }}:{{ .Values.pluginServer.tag }}',
    'cpu: [{{ .Values.pluginServer.resources.requests.cpu }}, {{ .Values.pluginServer.resources.limits.cpu }}]',
    'memory: [{{ .Values.pluginServer.resources.requests.memory }}, {{ .Values.pluginServer.resources.limits.memory }}]',
    'port: {{ .Values.pluginServer.service.port }}',
    'controller: {{ .Values.controller.env | toYaml | nindent 2 }}',
    '{{- end }}',
  ].join('\n'),
  'charts/higress-console/templates/console.yaml':
    'env:{{ range $name, $value := .Values.podEnvs }}\n  {{ $name }}: {{ $value | quote }}\n{{ end }}',
};

test(
  "higress-values.yaml sets the fields of Higress' own chart",
  without('helm') === false ? {} : { skip: 'no helm' },
  async t => {
    const chart = await mkdtemp(join(tmpdir(), 'plugin-mirror-higress-'));
    t.after(() => rm(chart, { recursive: true, force: true }));
    for (const name of ['.', 'charts/higress-core', 'charts/higress-console']) {
      await mkdir(join(chart, name, 'templates'), { recursive: true });
      const about = `apiVersion: v2\nname: ${name.split('/').at(-1)?.replace('.', 'higress')}\nversion: 2.2.5\n`;
      await writeFile(join(chart, name, 'Chart.yaml'), about);
    }
    for (const [file, text] of Object.entries(FIELDS)) await writeFile(join(chart, file), text);
    const values = ['--values', join(deploy, 'higress-values.yaml'), '--set', 'global.hub=hub.example.com'];
    const show = (file: string) =>
      parse(run('helm', ['template', 'higress', chart, ...values, '--show-only', file])) as object;
    assert.deepEqual(show('charts/higress-core/templates/server.yaml'), {
      replicas: 2,
      image: 'registry.example.com/higress/plugin-server:0.1.0',
      cpu: ['200m', '500m'],
      memory: ['128Mi', '256Mi'],
      port: 80,
      controller: {
        MCP_SERVER_WASM_IMAGE_URL:
          'http://higress-plugin-server.higress-system.svc/plugins/mcp-server/1.0.0/plugin.wasm',
      },
    });
    assert.deepEqual(show('charts/higress-console/templates/console.yaml'), {
      env: { [pattern]: `http://higress-plugin-server.higress-system.svc${path}` },
    });
  },
);

/** As docker compose reads a value: `$$` is `$`, `${NAME:-default}` a variable. @throws for what compose refuses */
function interpolate(text: string): string {
  return text.replace(/\$(?:(\$)|\{(\w+):-([^}]*)\}|(.{0,10}))/g, (_all, dollar, _name, byDefault, rest) => {
    assert.equal(rest, undefined, `compose would replace $${rest}`);
    return dollar ?? byDefault;
  });
}

interface Service {
  readonly image: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly stop_grace_period?: string;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly volumes?: readonly { readonly target: string; readonly read_only: boolean }[];
  readonly deploy?: { readonly resources: { readonly limits: object } };
}

test('compose.yaml runs the server within limits, and passes the pattern on as the Console needs it', async () => {
  const file = parse(await readFile(join(deploy, 'compose.yaml'), 'utf8'), (_key, value: unknown) =>
    typeof value === 'string' ? interpolate(value) : value,
  ) as { services: Record<'plugin-server' | 'console', Service> };
  const { 'plugin-server': server, console } = file.services;
  assert.equal(console.environment[pattern], `http://plugin-server:8080${path}`);
  assert.match(server.image, /:\d+\.\d+\.\d+$/);
  assert.deepEqual([server.read_only, server.cap_drop], [true, ['ALL']]);
  assert.deepEqual(server.deploy?.resources.limits, { cpus: '0.5', memory: '256M' });
  assert.equal(server.volumes?.[0]?.read_only, true);
  assert.equal(server.volumes[0].target, server.environment.PLUGIN_MIRROR_TREE);
  assert.ok(Number.parseInt(server.stop_grace_period ?? '', 10) > 33, 'longer than the server drains');
  const dockerfile = await readFile(join(deploy, '../Dockerfile'), 'utf8');
  assert.ok(dockerfile.includes(`CMD ["${server.healthcheck?.test[1]}"]`));
});
