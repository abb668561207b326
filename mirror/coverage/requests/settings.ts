import { isRecord } from '../../../base/shape.ts';
import { type EnvRules, expand, readEnvFile, type Variable } from './envFile.ts';
import type { InputProblem, RequestSource } from './pluginRequest.ts';
import { readResources, type YamlPath } from './yamlStream.ts';

/** The settings of Higress Console and Controller that decide the addresses of plugins. */
export interface HigressSettings {
  /** `HIGRESS_ADMIN_WASM_PLUGIN_CUSTOM_IMAGE_URL_PATTERN`, with `${name}` and perhaps `${version}` in it. */
  readonly pattern?: Setting;
  /** `HIGRESS_ADMIN_WASM_PLUGIN_IMAGE_REGISTRY` and `…_NAMESPACE`: where images are without a pattern. */
  readonly imageRegistry?: Setting;
  readonly imageNamespace?: Setting;
  /** `MCP_SERVER_WASM_IMAGE_URL` of the Controller. */
  readonly mcpServerUrl?: Setting;
  /** The tag of the Console's image, where the files name one. */
  readonly consoleTag?: Setting;
}

export interface Setting {
  readonly value: string;
  readonly source: RequestSource;
}

type Key = keyof HigressSettings;

/** The variables that the programs read, and those of higress-standalone's compose/.env, which its compose file passes on. */
const variables: Readonly<Record<string, Key>> = {
  HIGRESS_ADMIN_WASM_PLUGIN_CUSTOM_IMAGE_URL_PATTERN: 'pattern',
  HIGRESS_ADMIN_WASM_PLUGIN_IMAGE_REGISTRY: 'imageRegistry',
  HIGRESS_ADMIN_WASM_PLUGIN_IMAGE_NAMESPACE: 'imageNamespace',
  MCP_SERVER_WASM_IMAGE_URL: 'mcpServerUrl',
  WASM_PLUGIN_URL_PATTERN: 'pattern',
  MCP_SERVER_WASM_URL: 'mcpServerUrl',
  HIGRESS_CONSOLE_TAG: 'consoleTag',
};

/** Values of the Higress Console chart, by the end of their path. */
const chartValues: Readonly<Record<string, Key>> = {
  'pluginServer.urlPattern': 'pattern',
  'pluginServer.imageRegistry': 'imageRegistry',
  'pluginServer.imageNamespace': 'imageNamespace',
};

/** No setting lies deeper. The runtime's stack ends at a few thousand. */
const mostDepth = 100;

/** The pattern of the Console chart under `global.enablePluginServer` (helm/values.yaml, `pluginServer.urlPattern`). */
const chartPattern = 'http://higress-plugin-server.higress-system.svc/plugins/${name}/${version}/plugin.wasm';

export interface SettingsFile {
  /** The path, or `-`. */
  readonly file: string;
  readonly text: string;
}

export interface SettingsRead {
  readonly settings: HigressSettings;
  readonly problems: readonly InputProblem[];
}

/**
 * Reads the settings out of files of any of these kinds: the manifests of pods and ConfigMaps, values of the Helm charts, a
 * docker compose file, an .env file, the output of `env`. The variables of .env files fill those of compose files.
 */
export function readSettings(files: readonly SettingsFile[]): SettingsRead {
  const problems: InputProblem[] = [];
  const collected = new Map<Key, Setting>();
  const context: Context = { collected, report: problem => void problems.push(problem), environment: new Map() };
  const [plain, yaml] = [files.filter(isEnvFile), files.filter(each => !isEnvFile(each))];
  for (const { file, text } of plain) collectEnvFile(file, text, context);
  for (const { file, text } of yaml) {
    const before = problems.length;
    for (const resource of readResources(text, { file, report: context.report }))
      walk(resource.value, [], {
        ...context,
        isCompose: isRecord(resource.value) && isRecord(resource.value.services),
        sourceOf: path => ({ ...resource.source, line: resource.lineOf(path) }),
      });
    const isSource = [...collected.values()].some(({ source }) => source.file === file);
    if (!isSource && problems.length === before) context.report(nothingFound(file));
  }
  const { pattern } = Object.fromEntries(collected) as HigressSettings;
  if (pattern !== undefined) problems.push(...patternProblems(pattern));
  return { settings: Object.fromEntries(collected), problems };
}

interface Context {
  readonly collected: Map<Key, Setting>;
  readonly report: (problem: InputProblem) => void;
  /** The variables of .env files, for compose files. */
  readonly environment: Map<string, Variable>;
}

/** By name (`.env`, `.env.production`, `console.env`), else by the first line that is no comment or by a known variable. */
function isEnvFile({ file, text }: SettingsFile): boolean {
  if (/\.(?:ya?ml|json)$/i.test(file)) return false;
  if (composeName.test(file)) return true;
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/);
  const first = lines.find(line => !/^\s*(?:#.*)?$/.test(line)) ?? '';
  return (
    /^\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_.-]*=/.test(first) ||
    lines.some(line => {
      const [, name = ''] = /^(?:(?:export|declare -x|readonly|ENV)\s+)?(\w+)=/.exec(line) ?? [];
      return Object.hasOwn(variables, name);
    })
  );
}

/** The names of the files that docker compose reads by default and by `env_file` as a rule. */
const composeName = /(?:^|[/\\])\.env(?:\.[^/\\]*)?$|\.env(?:\.(?:example|sample|template|dist))?$/i;

function rulesOf({ file, text }: SettingsFile): EnvRules {
  if (composeName.test(file)) return 'compose';
  return /\.(?:ba|z)?sh$/i.test(file) || text.startsWith('#!') || /^FROM\s/im.test(text) ? 'shell' : 'literal';
}

function collectEnvFile(file: string, text: string, { collected, report, environment }: Context): void {
  const rules = rulesOf({ file, text });
  let isKnown = false;
  for (const [name, variable] of readEnvFile(text, { file, rules, report })) {
    environment.set(name, variable);
    const key = Object.hasOwn(variables, name) ? variables[name] : undefined;
    if (key === undefined) continue;
    isKnown = true;
    const source = { file, line: variable.line };
    reportReplaced(
      name,
      variable.replaced,
      source,
      report,
      rules === 'compose'
        ? 'Put the value into single quotes, or double the "$".'
        : 'Put the value into single quotes, or write a backslash in front of the "$".',
      rules === 'compose' ? 'docker compose' : 'a shell',
    );
    if (variable.value !== '') collected.set(key, { value: variable.value, source });
  }
  if (!isKnown) report(nothingFound(file));
}

interface Walk extends Context {
  readonly isCompose: boolean;
  /** The variables of the same container, which `$(NAME)` stands for. */
  readonly siblings?: ReadonlyMap<string, string>;
  readonly sourceOf: (path: YamlPath) => RequestSource;
}

function walk(value: unknown, path: YamlPath, context: Walk): void {
  if (path.length > mostDepth) return;
  if (Array.isArray(value)) {
    const siblings = podVariables(value);
    if (siblings.size > 0) context = { ...context, siblings };
    for (const [index, item] of value.entries()) {
      const [, name = '', text = ''] = typeof item === 'string' ? (/^([A-Za-z_]\w*)=(.*)$/s.exec(item) ?? []) : [];
      if (name !== '') collectVariable(name, text, [...path, index], context);
      else walk(item, [...path, index], context);
    }
    return;
  }
  if (!isRecord(value)) return;
  if (typeof value.name === 'string' && Object.hasOwn(variables, value.name)) {
    if (value.valueFrom !== undefined)
      context.report({
        source: context.sourceOf([...path, 'valueFrom']),
        found: `${value.name} from another resource`,
        expected: 'its value',
        hint: 'Name the ConfigMap that has it with --env-file as well, or the output of: kubectl exec … -- env',
      });
    else collectVariable(value.name, value.value, [...path, 'value'], context);
    return;
  }
  for (const [key, member] of Object.entries(value)) {
    const at = [...path, key];
    const chartKey = chartValues[at.slice(-2).join('.')];
    if (Object.hasOwn(variables, key)) collectVariable(key, member, at, context);
    else if (chartKey !== undefined) collect(chartKey, member, at, context);
    else if (key === 'enablePluginServer' && member === true) {
      if (!context.collected.has('pattern')) collect('pattern', chartPattern, at, context);
    } else if (key === 'image' && typeof member === 'string') collectConsoleTag(member, at, context);
    else walk(member, at, context);
  }
}

function podVariables(list: readonly unknown[]): Map<string, string> {
  return new Map(
    list.flatMap(item =>
      isRecord(item) && typeof item.name === 'string' && typeof item.value === 'string'
        ? [[item.name, item.value] as const]
        : [],
    ),
  );
}

/** The variables of pods as Kubernetes expands them, and those of compose: `$$` is one `$` in both. */
function collectVariable(name: string, written: unknown, path: YamlPath, context: Walk): void {
  const key = Object.hasOwn(variables, name) ? variables[name] : undefined;
  if (key === undefined || typeof written !== 'string') return;
  const text = context.isCompose ? interpolate(written, context.environment) : written;
  const { value: expanded, replaced } = expand(text);
  const value = expanded.replace(/\$\((\w+)\)/g, (match, other: string) => context.siblings?.get(other) ?? match);
  if (context.isCompose && text === written)
    reportReplaced(name, replaced, context.sourceOf(path), context.report, 'Double the "$" in a compose file.');
  collect(key, value, path, context);
}

/**
 * Replaces `${NAME}`, `${NAME:-default}` and `$NAME` as docker compose does. Placeholders of the pattern and variables that no file
 * defines are kept, so that the report shows them.
 */
function interpolate(written: string, environment: ReadonlyMap<string, Variable>): string {
  // Escaped again, as expand() takes the escapes of the compose file away.
  const defined = (name: string, fallback: string | undefined): string | undefined =>
    environment.get(name)?.value.replaceAll('$', '$$$$') ?? fallback;
  // A default that has placeholders, and so braces, must be the end of the value.
  const [, whole = '', fallback = ''] = /^\$\{([A-Za-z_]\w*)(?::?-(.*))?\}$/s.exec(written) ?? [];
  if (whole !== '' && !isPlaceholder(whole) && !fallback.replace(/\$?\$\{\w+\}/g, '').includes('}'))
    return defined(whole, fallback) ?? '';
  return written.replace(
    /\$\$|\$\{([A-Za-z_]\w*)(?::?-([^{}]*))?\}|\$([A-Za-z_]\w*)/g,
    (match, braced: string | undefined, other: string | undefined, bare: string | undefined) => {
      const name = braced ?? bare;
      return name === undefined || isPlaceholder(name) ? match : (defined(name, other) ?? match);
    },
  );
}

function isPlaceholder(name: string): boolean {
  return name === 'name' || name === 'version';
}

function collectConsoleTag(image: string, path: YamlPath, context: Walk): void {
  const [, written = ''] = /(?:^|\/)console:([^@]+)/.exec(image) ?? [];
  const tag = context.isCompose ? interpolate(written, context.environment) : written;
  if (/^v?\d/.test(tag)) collect('consoleTag', tag, path, context);
}

function collect(key: Key, value: unknown, path: YamlPath, context: Walk): void {
  if (typeof value !== 'string' || value.trim() === '') return;
  context.collected.set(key, { value: value.trim(), source: context.sourceOf(path) });
}

function reportReplaced(
  name: string,
  replaced: readonly string[],
  source: RequestSource,
  report: Context['report'],
  hint: string,
  reader: 'docker compose' | 'a shell' = 'docker compose',
): void {
  if (replaced.length === 0) return;
  const shown = replaced.map(placeholder => `\${${placeholder}}`).join(' and ');
  const escaped = shown.replaceAll('$', reader === 'a shell' ? '\\$' : '$$$$');
  report({
    source,
    found: `${name} with ${shown}, which ${reader} replaces by ${replaced.length === 1 ? 'a variable' : 'variables'} of that name`,
    expected: `${escaped}, or the value in single quotes${reader === 'a shell' ? '' : ' in an .env file'}`,
    hint,
  });
}

function patternProblems({ value, source }: Setting): InputProblem[] {
  const expected = 'a URL with ${name} and ${version}, such as http://HOST/plugins/${name}/${version}/plugin.wasm';
  const shown = JSON.stringify(value.slice(0, 200));
  if (!value.includes('${name}'))
    return [
      {
        source,
        found: `the pattern ${shown} without \${name}`,
        expected,
        hint: 'Every plugin would get the same URL.',
      },
    ];
  if (/\$\$\{|\\\$\{/.test(value))
    return [
      {
        source,
        found: `the pattern ${shown}, which leaves a character in front of the plugin's name`,
        expected,
        hint: 'Neither single quotes of an .env file nor the variables of a pod need an escape: write one "$".',
      },
    ];
  return [];
}

function nothingFound(file: string): InputProblem {
  return {
    source: { file },
    found: 'no setting of Higress Console or Controller about plugins',
    expected: Object.keys(variables).slice(0, 4).join(', '),
  };
}
