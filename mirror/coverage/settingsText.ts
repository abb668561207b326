import { compareVersions } from '../../tree/catalog.ts';
import { resourceName } from '../../tree/names.ts';
import { readGlobs } from '../plan/job.ts';
import { baseUrl, byNameThenVersion, moduleUrl, type ServedModule } from './served.ts';

/** The kind of file that the settings are for; each has its own rules for quotes and `$`. */
export type SettingsFormat = 'text' | 'env' | 'shell' | 'compose' | 'helm' | 'wasmplugin' | 'json';

export interface SettingsOptions {
  /** The URL below which `/plugins/` is, as a gateway reaches it. */
  readonly base: URL;
  readonly modules: readonly ServedModule[];
  /** Globs as those of `sync --only`. Default: every module. */
  readonly only?: readonly string[];
  readonly format: SettingsFormat;
}

const consoleVariable = 'HIGRESS_ADMIN_WASM_PLUGIN_CUSTOM_IMAGE_URL_PATTERN';
const controllerVariable = 'MCP_SERVER_WASM_IMAGE_URL';
/** The version that Higress Controller requests unless its variable says otherwise. */
const controllerVersion = '1.0.0';

/** Returns the settings of Higress Console and Controller, and the URLs of the modules, escaped for the format. */
export function settingsText({ base, modules: all, only = [], format }: SettingsOptions): string {
  const modules = all.filter(readGlobs(only).matches);
  const pattern = `${baseUrl(base)}/plugins/\${name}/\${version}/plugin.wasm`;
  const mcpModule = mcpServer(modules);
  const mcpUrl = mcpModule && moduleUrl(base, mcpModule);
  const rows = [...modules].sort(byNameThenVersion).map(module => ({ ...module, url: moduleUrl(base, module) }));
  return lines[format]({ pattern, mcpUrl, rows }).join('\n').concat('\n');
}

interface Content {
  readonly pattern: string;
  readonly mcpUrl: string | undefined;
  readonly rows: readonly (ServedModule & { readonly url: string })[];
}

const noMcpServer = '# The selection has no mcp-server; nothing is set for Higress Controller.';

const lines: Readonly<Record<SettingsFormat, (content: Content) => readonly string[]>> = {
  text: ({ pattern, mcpUrl, rows }) => [
    'Higress Console',
    `  ${consoleVariable}=${pattern}`,
    'Higress Controller',
    `  ${mcpUrl === undefined ? 'the selection has no mcp-server' : `${controllerVariable}=${mcpUrl}`}`,
    '',
    ...rows.map(({ url }) => url),
  ],
  env: ({ pattern, mcpUrl }) => [
    '# For docker compose, which keeps a "$" in single quotes as it is. docker run --env-file does not remove quotes:',
    '# leave them out there.',
    `${consoleVariable}='${pattern}'`,
    ...(mcpUrl === undefined ? [noMcpServer] : [`${controllerVariable}='${mcpUrl}'`]),
    '# The same for compose/.env of higress-standalone:',
    `WASM_PLUGIN_URL_PATTERN='${pattern}'`,
    ...(mcpUrl === undefined ? [] : [`MCP_SERVER_WASM_URL='${mcpUrl}'`]),
  ],
  shell: ({ pattern, mcpUrl }) => [
    `export ${consoleVariable}='${pattern}'`,
    ...(mcpUrl === undefined ? [noMcpServer] : [`export ${controllerVariable}='${mcpUrl}'`]),
  ],
  compose: ({ pattern, mcpUrl }) => [
    '# docker compose reads "$$" as "$".',
    'services:',
    '  console:',
    '    environment:',
    `      ${consoleVariable}: ${JSON.stringify(pattern.replaceAll('$', '$$$$'))}`,
    ...(mcpUrl === undefined
      ? [noMcpServer]
      : ['  controller:', '    environment:', `      ${controllerVariable}: ${JSON.stringify(mcpUrl)}`]),
  ],
  helm: ({ pattern, mcpUrl }) => [
    '# Values of the chart higress.io/higress; helm and Kubernetes keep ${…} as it is.',
    ...(mcpUrl === undefined
      ? [noMcpServer]
      : ['higress-core:', '  controller:', '    env:', `      ${controllerVariable}: ${JSON.stringify(mcpUrl)}`]),
    'higress-console:',
    '  podEnvs:',
    `    ${consoleVariable}: ${JSON.stringify(pattern)}`,
  ],
  wasmplugin: ({ rows }) =>
    rows.flatMap(({ name, version, url, sha256 }, index) => [
      ...(index === 0 ? [] : ['---']),
      'apiVersion: extensions.higress.io/v1alpha1',
      'kind: WasmPlugin',
      'metadata:',
      `  name: ${resourceName(name, version)}`,
      '  namespace: higress-system',
      'spec:',
      `  url: ${JSON.stringify(url)}`,
      ...(sha256 === undefined ? ['  # sha256: sync records it in the lockfile.'] : [`  sha256: "${sha256}"`]),
      '  failStrategy: FAIL_OPEN',
      '  # Nothing is loaded until defaultConfig is enabled or a rule in matchRules is.',
      '  defaultConfigDisable: true',
    ]),
  json: ({ pattern, mcpUrl, rows }) => [
    JSON.stringify(
      {
        schemaVersion: 1,
        console: { [consoleVariable]: pattern },
        controller: mcpUrl === undefined ? {} : { [controllerVariable]: mcpUrl },
        plugins: rows.map(({ name, version, aliasOf, url, sha256, sizeBytes }) => ({
          name,
          version,
          ...(aliasOf === undefined ? {} : { aliasOf }),
          url,
          ...(sha256 === undefined ? {} : { sha256 }),
          ...(sizeBytes === undefined ? {} : { sizeBytes }),
        })),
      },
      null,
      2,
    ),
  ],
};

/** The version that the Controller requests by default, else the highest. */
function mcpServer(modules: readonly ServedModule[]): ServedModule | undefined {
  const servers = modules
    .filter(({ name }) => name === 'mcp-server')
    .sort((one, other) => compareVersions(one.version, other.version));
  return servers.find(({ version }) => version === controllerVersion) ?? servers.at(-1);
}
