import { isRecord } from '../../../base/shape.ts';
import type { FailStrategy, InputProblem, PluginRequest, RequestSource, RequestsRead } from './pluginRequest.ts';
import { type Resource, readResources } from './yamlStream.ts';

/** `spec.url` without a scheme means an OCI image (Istio, WasmPlugin, `url`). */
const scheme = /^[a-z][a-z0-9+.-]*:\/\//i;
const groups: ReadonlySet<string> = new Set(['extensions.higress.io', 'extensions.istio.io']);

/**
 * Reads the WasmPlugin resources of Higress (extensions.higress.io) and of Istio (extensions.istio.io) out of YAML or JSON:
 * several documents, lists as kubectl prints them, other kinds in between. `file` is named in sources and problems.
 */
export function readWasmPlugins(text: string, file: string): RequestsRead {
  const requests: PluginRequest[] = [];
  const problems: InputProblem[] = [];
  const report = (problem: InputProblem): void => void problems.push(problem);
  for (const resource of readResources(text, { file, report })) {
    if (!isWasmPlugin(resource.value)) continue;
    const request = requestOf(resource.value, resource, report);
    if (request !== undefined) requests.push(request);
  }
  return { requests, problems };
}

type Manifest = Readonly<Record<string, unknown>>;

function isWasmPlugin(value: unknown): value is Manifest {
  if (!isRecord(value) || value.kind !== 'WasmPlugin' || typeof value.apiVersion !== 'string') return false;
  return groups.has(value.apiVersion.split('/')[0] ?? '');
}

function requestOf(
  resource: Manifest,
  { source, lineOf }: Resource,
  report: (problem: InputProblem) => void,
): PluginRequest | undefined {
  const metadata = isRecord(resource.metadata) ? resource.metadata : {};
  const spec = isRecord(resource.spec) ? resource.spec : {};
  const consumer = `WasmPlugin ${[textOf(metadata.namespace), textOf(metadata.name) ?? 'without a name']
    .filter(part => part !== undefined)
    .join('/')}`;
  const at = (key: string): RequestSource => ({ ...source, line: lineOf(['spec', key]) });
  const url = textOf(spec.url)?.trim();
  if (url === undefined || url === '') {
    const found = spec.url === undefined ? `${consumer} without spec.url` : `${consumer} whose spec.url is no text`;
    const hint = 'Without it the gateway loads no plugin; the resource changes nothing.';
    report({ source: at('url'), found, expected: 'the address of a module', hint });
    return undefined;
  }
  const [template] = /\{\{|\$\{|\$\(/.exec(url) ?? [];
  if (template !== undefined) {
    const found = `${consumer} whose spec.url is a template: ${url.slice(0, 200)}`;
    const hint = 'Fill it in first: helm template CHART | plugin-mirror coverage -';
    report({ source: at('url'), found, expected: 'the address of a module', hint });
    return undefined;
  }
  const sha256 = textOf(spec.sha256);
  if (sha256 !== undefined && sha256 !== '' && !/^[0-9a-f]{64}$/.test(sha256))
    report({
      source: at('sha256'),
      found: `${consumer} with spec.sha256 ${JSON.stringify(sha256.slice(0, 80))}`,
      expected: '64 lower-case hex digits: the gateway compares the text',
    });
  const labels = isRecord(metadata.labels) ? metadata.labels : {};
  const plugin = textOf(labels['higress.io/wasm-plugin-name']);
  const imagePullPolicy = textOf(spec.imagePullPolicy);
  return {
    kind: 'wasmplugin',
    consumer,
    url: scheme.test(url) ? url : `oci://${url}`,
    ...(plugin === undefined ? {} : { plugin }),
    ...(sha256 === undefined || sha256 === '' ? {} : { sha256 }),
    failStrategy: failStrategyOf(spec.failStrategy),
    ...(imagePullPolicy === undefined || imagePullPolicy === 'UNSPECIFIED_POLICY' ? {} : { imagePullPolicy }),
    ...(isDisabled(spec) ? { disabled: true } : {}),
    source: at('url'),
  };
}

/** By name, or by number as protobuf's JSON mapping allows for enums. */
function failStrategyOf(value: unknown): FailStrategy {
  return value === 'FAIL_OPEN' || value === 1 ? 'FAIL_OPEN' : 'FAIL_CLOSE';
}

/** True as in Higress: no pluginConfig, the default configuration disabled, and no enabled rule. */
function isDisabled(spec: Manifest): boolean {
  if (spec.defaultConfigDisable !== true) return false;
  if (spec.pluginConfig !== undefined && spec.pluginConfig !== null) return false;
  const rules = Array.isArray(spec.matchRules) ? spec.matchRules : [];
  return rules.every(rule => isRecord(rule) && rule.configDisable === true);
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
