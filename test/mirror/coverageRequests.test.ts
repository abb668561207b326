import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { collectRequests, type RequestInputs } from '../../mirror/coverage/requests/collectRequests.ts';
import { readHigressData } from '../../mirror/coverage/requests/higressReleases.ts';
import { formatSource } from '../../mirror/coverage/requests/pluginRequest.ts';
import { readSettings } from '../../mirror/coverage/requests/settings.ts';
import { readWasmPlugins } from '../../mirror/coverage/requests/wasmPlugins.ts';

const url = 'http://higress-plugin-server.higress-system.svc/plugins/ai-proxy/2.0.3/plugin.wasm';

interface Fields {
  readonly group?: string;
  readonly name?: string;
  readonly spec?: string;
}

const resource = ({ group = 'higress', name = 'ai-proxy', spec = `url: ${url}` }: Fields = {}): string =>
  `apiVersion: extensions.${group}.io/v1alpha1
kind: WasmPlugin
metadata:
  name: ${name}
  namespace: higress-system
spec:
  ${spec.replaceAll('\n', '\n  ')}
`;

describe('WasmPlugin resources', () => {
  const read = (text: string) => readWasmPlugins(text, 'plugins.yaml');

  it('of Higress and of Istio become requests, with the place where the URL is written', () => {
    const { requests, problems } = read(`${resource()}---\n# Istio's own\n${resource({ group: 'istio', name: 'b' })}`);
    assert.deepEqual(problems, []);
    assert.deepEqual(
      requests.map(({ consumer, source }) => `${consumer}: ${formatSource(source)}`),
      [
        'WasmPlugin higress-system/ai-proxy: plugins.yaml, document 1, line 7',
        'WasmPlugin higress-system/b: plugins.yaml, document 2, line 16',
      ],
    );
    assert.deepEqual(
      { ...requests[0], source: undefined },
      {
        kind: 'wasmplugin',
        consumer: 'WasmPlugin higress-system/ai-proxy',
        url,
        failStrategy: 'FAIL_CLOSE',
        source: undefined,
      },
    );
  });

  it('keep sha256, imagePullPolicy and failStrategy, by name or by number', () => {
    const sha256 = 'a'.repeat(64);
    const spec = `url: ${url}\nsha256: ${sha256}\nimagePullPolicy: Always\nfailStrategy: FAIL_OPEN`;
    const [first, second] = read(
      `${resource({ spec })}---\n${resource({ spec: `url: ${url}\nfailStrategy: 1\nimagePullPolicy: UNSPECIFIED_POLICY` })}`,
    ).requests;
    assert.deepEqual(
      [first?.sha256, first?.imagePullPolicy, first?.failStrategy, second?.failStrategy, second?.imagePullPolicy],
      [sha256, 'Always', 'FAIL_OPEN', 'FAIL_OPEN', undefined],
    );
  });

  it('may have URLs of every scheme; without one it is an image, as in Istio', () => {
    const urls = ['https://h/x.wasm', 'oci://h/plugins/a:1', 'file:///opt/a.wasm', 'h.io/plugins/a:1'];
    const text = urls.map(each => resource({ spec: `url: ${each}` })).join('---\n');
    assert.deepEqual(
      read(text).requests.map(request => request.url),
      [...urls.slice(0, 3), 'oci://h.io/plugins/a:1'],
    );
  });

  it('are disabled where Higress keeps them from the gateway, and only there', () => {
    const disabled = (rest: string) => read(resource({ spec: `url: ${url}\n${rest}` })).requests[0]?.disabled ?? false;
    assert.equal(disabled('defaultConfigDisable: true'), true);
    assert.equal(disabled('defaultConfigDisable: true\nmatchRules:\n- configDisable: true\n  ingress: [a]'), true);
    assert.equal(disabled('defaultConfigDisable: true\nmatchRules:\n- ingress: [a]\n- configDisable: true'), false);
    assert.equal(disabled('defaultConfigDisable: true\npluginConfig: {}'), false);
    assert.equal(disabled('defaultConfigDisable: false'), false);
    assert.equal(disabled('defaultConfig: {}'), false);
  });

  for (const [form, kind, indent] of [
    ['as kubectl prints it', 'List', ''],
    ['with indented items', 'WasmPluginList', '  '],
  ] as const)
    it(`come out of a list ${form}`, () => {
      const items = ['a', 'b'].map(
        name => `${indent}- ${resource({ name }).trimEnd().replaceAll('\n', `\n${indent}  `)}\n`,
      );
      const { requests, problems } = read(`apiVersion: v1\nitems:\n${items.join('')}kind: ${kind}\n`);
      assert.deepEqual(problems, []);
      assert.deepEqual(
        requests.map(({ consumer, source }) => [consumer, source.document, source.line]),
        [
          ['WasmPlugin higress-system/a', 1, 9],
          ['WasmPlugin higress-system/b', 1, 16],
        ],
      );
    });

  it('come out of JSON, as a list or alone', () => {
    const item = {
      apiVersion: 'extensions.higress.io/v1alpha1',
      kind: 'WasmPlugin',
      metadata: { name: 'a', namespace: 'n', labels: { 'higress.io/wasm-plugin-name': 'ai-proxy' } },
      spec: { url },
    };
    const list = JSON.stringify({ kind: 'List', items: [item, { kind: 'Pod' }, item] }, null, 2);
    const { requests, problems } = read(list);
    assert.deepEqual(problems, []);
    assert.deepEqual(
      requests.map(({ plugin, source }) => [plugin, source.line]),
      [
        ['ai-proxy', 15],
        ['ai-proxy', 32],
      ],
    );
    assert.equal(read(JSON.stringify(item)).requests.length, 1);
  });

  it('come out of JSON values one after another, and out of typed lists without kinds', () => {
    const item = (name: string) => ({
      apiVersion: 'extensions.higress.io/v1alpha1',
      kind: 'WasmPlugin',
      metadata: { name },
      spec: { url },
    });
    for (const text of [
      `${JSON.stringify(item('a'))}\n${JSON.stringify(item('b'))}\n`,
      `${JSON.stringify(item('a'), null, 2)}\n${JSON.stringify(item('b'), null, 2)}\n`,
    ]) {
      const { requests, problems } = read(`${text}---\n${resource({ name: 'c' })}`);
      assert.deepEqual(problems, []);
      assert.deepEqual(
        requests.map(({ consumer, source }) => [consumer.slice(-1), source.document]),
        [
          ['a', 1],
          ['b', 2],
          ['c', 3],
        ],
      );
    }
    const { kind: _, apiVersion, ...rest } = item('a');
    const typed = { kind: 'WasmPluginList', apiVersion, items: [rest] };
    assert.equal(read(JSON.stringify(typed)).requests.length, 1);
    assert.equal(
      read(`apiVersion: ${apiVersion}\nkind: WasmPluginList\nitems:\n- spec: {url: ${url}}\n`).requests.length,
      1,
    );
  });

  it('in a template are reported, and how to fill it in', () => {
    const { requests, problems } = read(
      [
        resource({ name: 'quoted', spec: 'url: "{{ .Values.url }}"' }),
        resource({ name: 'variable', spec: 'url: oci://$' + '{HUB}/a:1' }),
        `{{- if .Values.on }}\n${resource({ name: 'guarded', spec: 'url: {{ .Values.url | quote }}' })}{{- end }}\n`,
        resource({ name: 'last' }),
      ].join('---\n'),
    );
    assert.deepEqual(
      requests.map(({ consumer }) => consumer),
      ['WasmPlugin higress-system/last'],
    );
    assert.deepEqual(
      problems.map(({ source, hint }) => [source.document, hint?.includes('helm template')]),
      [
        [1, true],
        [2, true],
        [3, true],
      ],
    );
    assert.match(problems[0]?.found ?? '', /quoted whose spec\.url is a template: \{\{ \.Values\.url/);
  });

  it('without a URL, or with a sha256 that no module can have, are reported with their line', () => {
    const { requests, problems } = read(
      `${resource({ spec: 'phase: AUTHN' })}---\n${resource({ spec: `url: ${url}\nsha256: ${'A'.repeat(64)}` })}`,
    );
    assert.equal(requests.length, 1);
    assert.deepEqual(
      problems.map(({ source, found }) => [source.document, source.line, found.slice(0, 60)]),
      [
        [1, 7, 'WasmPlugin higress-system/ai-proxy without spec.url'],
        [2, 16, 'WasmPlugin higress-system/ai-proxy with spec.sha256 "AAAAAAA'],
      ],
    );
  });

  it('are read around broken YAML, which is reported with document and line', () => {
    const { requests, problems } = read(`${resource()}---\nspec:\n  url: "open\n---\n${resource({ name: 'last' })}`);
    assert.deepEqual(
      requests.map(({ consumer }) => consumer),
      ['WasmPlugin higress-system/ai-proxy', 'WasmPlugin higress-system/last'],
    );
    assert.equal(problems.length, 1);
    assert.equal(problems[0]?.source.document, 2);
    assert.ok([10, 11].includes(problems[0]?.source.line ?? 0), JSON.stringify(problems));
  });

  it('are read around a broken item of a list', () => {
    const item = (name: string) => `- ${resource({ name }).trimEnd().replaceAll('\n', '\n  ')}\n`;
    const { requests, problems } = read(
      `apiVersion: v1\nitems:\n${item('a')}- kind: "open\n  x: y: z\n${item('b')}kind: List\n`,
    );
    assert.deepEqual(
      requests.map(({ consumer, source }) => [consumer, source.line]),
      [
        ['WasmPlugin higress-system/a', 9],
        ['WasmPlugin higress-system/b', 18],
      ],
    );
    assert.equal(problems.length, 1);
  });

  it('may use anchors, but not such that expand without end', () => {
    const anchored = `x: &u ${url}\n${resource({ spec: 'url: *u' })}`;
    assert.equal(read(anchored).requests[0]?.url, url);
    const levels = Array.from({ length: 12 }, (_, at) => `a${at}: &a${at} [${`*a${at - 1},`.repeat(9)}]`).slice(1);
    const { problems } = read(`a0: &a0 [x]\n${levels.join('\n')}\n---\n${resource()}`);
    assert.equal(problems.length, 1);
    assert.match(problems[0]?.found ?? '', /alias/i);
  });

  it('nested without end cost their document', () => {
    const { requests, problems } = read(`${'['.repeat(20_000)}\n---\n${resource()}`);
    assert.equal(requests.length, 1);
    assert.equal(problems.length, 1);
  });

  it('may have a thousand aliases; more cost their document', () => {
    const anchors = Array.from({ length: 30_000 }, (_, at) => `a${at}: &a${at} x\n`).join('');
    const aliases = (count: number) => Array.from({ length: count }, (_, at) => `b${at}: *a${at}\n`).join('');
    const good = read(`${anchors}${aliases(1000)}${resource()}`);
    assert.deepEqual([good.requests.length, good.problems], [1, []]);
    const { requests, problems } = read(`${anchors}${aliases(30_000)}---\n${resource()}`);
    assert.equal(requests.length, 1);
    assert.deepEqual(
      problems.map(({ found, source }) => [found, source.line]),
      [['more than 1000 aliases in one resource', 31_001]],
    );
  });

  it('two thousand in a list of 10 MB are read whole, with little memory', () => {
    const rule = (at: number) =>
      `    - config:\n        rules:\n        - header: x-test-${at}\n          value: "${'text '.repeat(6)}"\n      configDisable: ${at % 2 === 0}\n      ingress:\n      - route-${at}\n`;
    const rules = Array.from({ length: 28 }, (_, at) => rule(at)).join('');
    const items = Array.from(
      { length: 2000 },
      (_, at) =>
        `- apiVersion: extensions.higress.io/v1alpha1\n  kind: WasmPlugin\n  metadata:\n    annotations:\n      a: b\n    name: p${at}\n  spec:\n    defaultConfigDisable: true\n    failStrategy: FAIL_OPEN\n    matchRules:\n${at === 7 ? rules.replaceAll('configDisable: false', 'configDisable: true') : rules}    url: ${url.replace('2.0.3', `2.0.${at}`)}\n`,
    );
    const text = `apiVersion: v1\nitems:\n${items.join('')}kind: List\n`;
    assert.ok(text.length > 9_000_000, String(text.length));
    const { requests, problems } = read(text);
    assert.deepEqual(problems, []);
    assert.equal(requests.length, 2000);
    const lines = text.split('\n');
    for (const at of [0, 7, 8, 1999]) {
      const request = requests[at];
      assert.equal(lines[(request?.source.line ?? 0) - 1]?.trim(), `url: ${request?.url}`);
      assert.equal(request?.disabled ?? false, at === 7);
    }
  });
});

describe('the environment of Console and Controller', () => {
  const pattern = 'http://plugin-server/plugins/${name}/${version}/plugin.wasm';
  const name = 'HIGRESS_ADMIN_WASM_PLUGIN_CUSTOM_IMAGE_URL_PATTERN';
  const read = (file: string, text: string) => {
    const { settings, problems } = readSettings([{ file, text }]);
    return { value: settings.pattern?.value, line: settings.pattern?.source.line, problems };
  };

  for (const [form, file, text, line] of [
    ['an .env file in single quotes', '.env', `# c\n${name}='${pattern}'\n`, 2],
    ['an .env file with doubled $', '.env', `${name}=${pattern.replaceAll('$', '$$$$')} # c\n`, 1],
    ['an .env file in double quotes', 'a.env', `export ${name}="${pattern.replaceAll('$', '$$$$')}"\n`, 1],
    ['an .env file with escaped $', 'a.env', `${name}="${pattern.replaceAll('$', '\\$')}"\n`, 1],
    ['the .env file of higress-standalone', 'compose/.env', `WASM_PLUGIN_URL_PATTERN='${pattern}'`, 1],
    [
      'an .env file of an environment',
      'compose/.env.production',
      `${name}="${pattern.replaceAll('$', '$$$$')}" # c`,
      1,
    ],
    ['a script', 'set.sh', `#!/bin/sh\nset -e\nexport ${name}='${pattern}'\n`, 3],
    ['a script with escapes', 'set.sh', `export ${name}="${pattern.replaceAll('$', '\\$')}"; run\n`, 1],
    [
      'the output of export -p',
      '-',
      `declare -x HOME="/"\ndeclare -x ${name}="${pattern.replaceAll('$', '\\$')}"\n`,
      2,
    ],
    ['lines for a shell without a name', 'settings', `export ${name}='${pattern}'\r\n`, 1],
    ['a Dockerfile', 'Dockerfile', `FROM h/console\nENV ${name}=${pattern.replaceAll('$', '\\$')}\n`, 2],
    ['the output of env after a function', '-', `BASH_FUNC_a%%=() { :\n}\n${name}=${pattern}\n`, 3],
    ['the output of env', '-', `PATH=/bin\n${name}=${pattern}\n`, 2],
    [
      'a pod',
      'pod.yaml',
      `kind: Pod\nspec:\n  containers:\n  - env:\n    - name: A\n      value: b\n    - name: ${name}\n      value: ${pattern}\n`,
      8,
    ],
    [
      'a pod that escapes the $',
      'pod.yaml',
      `env:\n- {name: ${name}, value: '${pattern.replaceAll('$', '$$$$')}'}\n`,
      2,
    ],
    ['a ConfigMap', 'map.yml', `kind: ConfigMap\ndata:\n  ${name}: ${pattern}\n`, 3],
    ['values of the Higress chart', 'values.yaml', `higress-console:\n  podEnvs:\n    ${name}: "${pattern}"\n`, 3],
    [
      'values of the plugin server',
      'values.yaml',
      `higress-console:\n  pluginServer:\n    urlPattern: ${pattern}\n`,
      3,
    ],
    [
      'a compose file',
      'compose.yaml',
      `services:\n  console:\n    environment:\n      ${name}: "${pattern.replaceAll('$', '$$$$')}"\n`,
      4,
    ],
    [
      'a compose file with a list',
      'compose.yaml',
      `services:\n  console:\n    environment:\n    - A=b\n    - ${name}=${pattern.replaceAll('$', '$$$$')}\n`,
      5,
    ],
    ['JSON', 'pod.json', JSON.stringify({ env: [{ name, value: pattern }] }), 1],
  ] as const)
    it(`is read out of ${form}`, () => {
      assert.deepEqual(read(file, text), { value: pattern, line, problems: [] });
    });

  it('is what other variables make of it', () => {
    const path = pattern.slice(pattern.indexOf('/plugins/'));
    const escaped = path.replaceAll('$', '$$$$');
    const compose = (value: string) =>
      `services:\n  console:\n    environment:\n      ${name}: ${JSON.stringify(value)}\n`;
    const env = { file: '.env', text: 'HOST=a\n' };
    for (const [file, text, expected] of [
      ['c.yaml', compose(`http://\${HOST}:\${PORT:-80}${escaped}`), `http://a:80${path}`],
      ['c.yaml', compose(`http://$HOST${escaped}`), `http://a${path}`],
      ['c.yaml', compose(`\${OTHER:-http://b${escaped}}`), `http://b${path}`],
      ['c.yaml', compose(`\${SCHEME:-http}://\${HOST:-b}${escaped}`), `http://a${path}`],
      [
        'pod.yaml',
        `env:\n- {name: HOST, value: c}\n- {name: ${name}, value: 'http://$(HOST)${path}'}\n`,
        `http://c${path}`,
      ],
    ] as const) {
      const { settings, problems } = readSettings([env, { file, text }]);
      assert.equal(settings.pattern?.value, expected);
      assert.deepEqual(
        problems.filter(problem => problem.source.file === file),
        [],
      );
    }
  });

  it('has the chart’s pattern where the plugin server is enabled, unless podEnvs has another', () => {
    const enabled = 'global:\n  enablePluginServer: true\n';
    assert.match(
      read('values.yaml', enabled).value ?? '',
      /^http:\/\/higress-plugin-server\.higress-system\.svc\/plugins/,
    );
    assert.equal(read('values.yaml', `podEnvs:\n  ${name}: ${pattern}\n${enabled}`).value, pattern);
    assert.equal(read('values.yaml', `${enabled}podEnvs:\n  ${name}: ${pattern}\n`).value, pattern);
  });

  it('fills a compose file’s variables from the .env file next to it', () => {
    const compose = `services:\n  console:\n    image: r/console:\${HIGRESS_CONSOLE_TAG}\n    environment:\n      ${name}: "\${WASM_PLUGIN_URL_PATTERN:-}"\n`;
    const env = `HIGRESS_CONSOLE_TAG='2.2.4'\nWASM_PLUGIN_URL_PATTERN='${pattern}'\n`;
    const { settings, problems } = readSettings([
      { file: 'docker-compose.yml', text: compose },
      { file: '.env', text: env },
    ]);
    assert.deepEqual(problems, []);
    assert.equal(settings.pattern?.value, pattern);
    assert.equal(settings.consoleTag?.value, '2.2.4');
  });

  it('is looked for as deep as settings lie, however deep the file is nested', () => {
    for (const file of ['values.json', 'values.yaml']) {
      const deep = `${'{"a":'.repeat(3000)}1${'}'.repeat(3000)}`;
      const { value } = read(file, `{"deep": ${deep}, "podEnvs": {"${name}": ${JSON.stringify(pattern)}}}`);
      assert.equal(value, pattern);
    }
    const { problems } = read('values.json', `${'['.repeat(100_000)}${']'.repeat(100_000)}`);
    assert.match(problems[0]?.found ?? '', /^no setting/);
  });

  it('takes registry, namespace and the Controller’s URL, too', () => {
    const text = `HIGRESS_ADMIN_WASM_PLUGIN_IMAGE_REGISTRY=harbor.local\nHIGRESS_ADMIN_WASM_PLUGIN_IMAGE_NAMESPACE=p\nMCP_SERVER_WASM_IMAGE_URL=http://h/x\n`;
    const { settings } = readSettings([{ file: '-', text }]);
    assert.deepEqual(
      [settings.imageRegistry?.value, settings.imageNamespace?.value, settings.mcpServerUrl?.value],
      ['harbor.local', 'p', 'http://h/x'],
    );
  });

  for (const [what, file, text, found] of [
    ['a pattern without ${name}', 'x', `${name}=http://h/all.wasm`, /without \$\{name\}/],
    ['$$ inside single quotes', '.env', `${name}='${pattern.replaceAll('$', '$$$$')}'`, /leaves a character/],
    ['a placeholder that compose replaces in an .env file', '.env', `${name}=${pattern}`, /docker compose replaces/],
    [
      'a placeholder that compose replaces in its file',
      'c.yaml',
      `services:\n  a:\n    environment:\n      ${name}: ${pattern}\n`,
      /docker compose replaces/,
    ],
    ['a placeholder that a shell replaces', 'set.sh', `export ${name}="${pattern}"`, /a shell replaces/],
    ['an open quote', '.env', `${name}='x`, /quote that is not closed/],
    ['a value from elsewhere', 'p.yaml', `env:\n- name: ${name}\n  valueFrom: {}\n`, /from another resource/],
    ['a file without any setting', 'p.yaml', 'kind: Pod\n', /no setting/],
    ['broken YAML', 'p.yaml', 'a: "\n', /quote/],
  ] as const)
    it(`reports ${what}`, () => {
      const { problems } = read(file, text);
      assert.match(problems[0]?.found ?? '', found);
      assert.equal(problems[0]?.source.file, file);
    });
});

describe('all inputs together', async () => {
  const data = await readHigressData();
  const collect = (inputs: Partial<RequestInputs>) =>
    collectRequests({
      data,
      higress: [],
      files: [],
      envFiles: [],
      urls: [],
      readStdin: async () => '',
      signal: new AbortController().signal,
      ...inputs,
    });

  it('are the newest release with Controller and all-in-one where nothing is named', async () => {
    const { requests, problems } = await collect({});
    assert.deepEqual(problems, []);
    assert.equal(requests.length, 52 + 1 + 3);
    assert.equal(requests[0]?.consumer, 'Console 2.2.5');
    assert.equal(requests[0]?.failStrategy, 'FAIL_OPEN');
  });

  for (const release of data.releases.map(each => each.release))
    it(`have every path of ${release}`, async () => {
      const { requests } = await collect({ higress: [release] });
      const own = data.releases.find(each => each.release === release);
      assert.ok(own !== undefined && own.plugins.length >= 39);
      const urls = new Set(requests.map(request => request.url));
      for (const plugin of own.plugins) assert.ok(urls.has(`/plugins/${plugin.name}/${plugin.version}/plugin.wasm`));
      if (release !== '2.2.4') assert.equal(requests.length, own.plugins.length);
    });

  it('mean all builds by a release whose tag was rebuilt', async () => {
    const { requests } = await collect({ higress: ['v2.2.4'] });
    const ofBasicAuth = requests.filter(({ plugin }) => plugin === 'basic-auth');
    assert.deepEqual(
      ofBasicAuth.map(({ version, consumer }) => [version, consumer]),
      [
        ['2.0.0', 'Console 2.2.4-rebuilt'],
        ['1.0.0', 'Console 2.2.4-recovered, 2.2.4'],
      ],
    );
  });

  it('refuse a release that is not known, with the nearest', async () => {
    await assert.rejects(collect({ higress: ['2.2.55'] }), {
      code: 'HIGRESS_RELEASE_UNKNOWN',
      hint: /Did you mean 2\.2\.5\?/,
    });
  });

  it('take the address from the environment, and the release from the Console’s image', async t => {
    const dir = await folder(t);
    const env = join(dir, '.env');
    await writeFile(env, `HIGRESS_CONSOLE_TAG='2.1.5'\nWASM_PLUGIN_URL_PATTERN='http://p:8080/w/\${name}.wasm'\n`);
    const { requests, problems } = await collect({ envFiles: [env] });
    assert.deepEqual(problems, []);
    assert.equal(requests.length, 42);
    assert.equal(requests.find(({ plugin }) => plugin === 'waf')?.url, 'http://p:8080/w/waf.wasm');
    assert.deepEqual(requests[0]?.source, { file: env, line: 2 });
  });

  it('are images where the Console has no pattern', async t => {
    const dir = await folder(t);
    await writeFile(join(dir, '.env'), "HIGRESS_CONSOLE_TAG='2.2.5'\nWASM_PLUGIN_URL_PATTERN=''\n");
    await writeFile(join(dir, 'pod'), 'HIGRESS_ADMIN_WASM_PLUGIN_IMAGE_REGISTRY=harbor.local\n');
    const urlOf = async (file: string) =>
      (await collect({ envFiles: [join(dir, file)] })).requests.find(({ plugin }) => plugin === 'json-converter')?.url;
    const image = 'plugins/jsonrpc-converter:2.0.3';
    assert.equal(await urlOf('.env'), `oci://higress-registry.cn-hangzhou.cr.aliyuncs.com/${image}`);
    assert.equal(await urlOf('pod'), `oci://harbor.local/${image}`);
  });

  it('report a release of the environment that is not known, and compare the newest', async t => {
    const env = join(await folder(t), '.env');
    await writeFile(env, "HIGRESS_CONSOLE_TAG='9.9.9'\n");
    const { requests, problems } = await collect({ envFiles: [env] });
    assert.equal(requests.length, 52);
    assert.match(problems[0]?.found ?? '', /Console 9\.9\.9/);
  });

  it('are read out of folders, through links, and out of standard input', async t => {
    const dir = await folder(t);
    await mkdir(join(dir, 'deep/..data'), { recursive: true });
    await writeFile(join(dir, 'deep/..data/a.yaml'), resource({ name: 'linked' }));
    await symlink('..data/a.yaml', join(dir, 'deep/b.yaml'));
    await writeFile(join(dir, 'c.json'), '{}');
    await writeFile(join(dir, 'README.md'), resource());
    const { requests, problems } = await collect({ files: [dir, '-'], readStdin: async () => resource() });
    assert.deepEqual(problems, []);
    assert.deepEqual(
      requests.map(({ source }) => source.file.replace(dir, '')),
      ['/deep/..data/a.yaml', '/deep/b.yaml', '-'],
    );
  });

  it('report files that are missing or have no WasmPlugin, and read the others', async t => {
    const dir = await folder(t);
    await writeFile(join(dir, 'a.yaml'), resource());
    await writeFile(join(dir, 'pod.yaml'), 'kind: Pod\n');
    const { requests, problems } = await collect({
      files: ['a.yaml', 'pod.yaml', 'none.yaml'].map(file => join(dir, file)),
      urls: ['http://h/plugins/a/1/plugin.wasm'],
    });
    assert.equal(requests.length, 2);
    assert.deepEqual(
      problems.map(({ found }) => found),
      ['no WasmPlugin', 'no such file'],
    );
  });
});

async function folder(t: { after(clean: () => Promise<void>): void }): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-coverage-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}
