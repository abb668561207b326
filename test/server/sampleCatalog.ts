import { resolve } from 'node:path';
import { readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { formatReference } from '../../registry/reference.ts';
import type { Planned } from './tree.ts';

/** Title, Chinese title, category and purpose of plugins, as their spec.yaml has them. */
const ABOUT: Readonly<
  Record<string, readonly [title: string, zh: string, category: string, about: string, aboutZh: string]>
> = {
  'ai-proxy': [
    'AI Proxy',
    'AI 代理',
    'ai',
    'Connects one OpenAI-compatible API to many model providers.',
    '将统一的 OpenAI 协议接口对接到多家大模型厂商。',
  ],
  'ai-cache': [
    'AI Cache',
    'AI 缓存',
    'ai',
    'Caches answers of language models, exactly or by meaning.',
    '缓存大模型的回答，支持精确匹配与语义匹配。',
  ],
  'ai-statistics': [
    'AI Observability',
    'AI 可观测',
    'ai',
    'Metrics, logs and traces of token usage and latency.',
    '提供 token 用量与延迟的指标、日志和链路数据。',
  ],
  'basic-auth': [
    'Basic Auth',
    'Basic 认证',
    'auth',
    'Authenticates requests by HTTP Basic Auth.',
    '基于 HTTP Basic Auth 标准进行认证鉴权。',
  ],
  'key-auth': ['Key Auth', 'Key 认证', 'auth', 'Authenticates requests by an API key.', '基于 API Key 进行认证鉴权。'],
  'jwt-auth': ['JWT Auth', 'JWT 认证', 'auth', 'Verifies JSON Web Tokens.', '基于 JWT 进行认证鉴权。'],
  waf: [
    'WAF',
    'WAF 防护',
    'security',
    'Web application firewall with the OWASP core rule set.',
    '基于 OWASP 核心规则集的 Web 应用防火墙。',
  ],
  cors: [
    'CORS',
    '跨域资源共享',
    'security',
    'Answers preflight requests and sets CORS headers.',
    '处理跨域预检请求并设置 CORS 响应头。',
  ],
  transformer: [
    'Request and Response Transformer',
    '请求响应转换',
    'transform',
    'Adds, renames and removes headers, query parameters and body fields.',
    '对请求与响应的头、参数和消息体进行增删改。',
  ],
  'key-rate-limit': [
    'Key Rate Limit',
    'Key 限流',
    'flow-control',
    'Limits the rate of requests by a key.',
    '按照特定键值对请求限流。',
  ],
  'mcp-server': [
    'MCP Server',
    'MCP 服务器',
    'ai',
    'Turns REST APIs into tools of the Model Context Protocol.',
    '将 REST API 转换为 MCP 工具。',
  ],
};

function spec(name: string, version: string): string {
  const [title = name, zh = name, category = 'custom', about = `The plugin ${name}.`, aboutZh = `${name} 插件。`] =
    ABOUT[name] ?? [];
  const extra = version.startsWith('2.0.3')
    ? '\n        timeout:\n          type: integer\n          title: Timeout\n          description: Milliseconds to wait for an answer\n          x-description-i18n:\n            zh-CN: 等待响应的毫秒数\n          default: 3000\n          minimum: 1\n          maximum: 600000'
    : '';
  return `apiVersion: 1.0.0
info:
  gatewayMinVersion: "2.0.0"
  type: oss
  category: ${category}
  name: ${name}
  image: platform_wasm/${name}
  title: ${title}
  x-title-i18n:
    zh-CN: ${zh}
  description: ${about}
  x-description-i18n:
    zh-CN: ${aboutZh}
  version: ${version}
spec:
  phase: AUTHN
  priority: 310
  configSchema:
    openAPIV3Schema:
      type: object
      required: [consumers]
      properties:
        consumers:
          type: array
          title: Consumers
          x-title-i18n:
            zh-CN: 调用者列表
          description: Who may call the service
          x-description-i18n:
            zh-CN: 允许调用服务的身份
          minItems: 1
          items:
            type: object
            required: [name, credential]
            properties:
              name:
                type: string
                description: Name of the consumer
                maxLength: 64
                pattern: "^[a-z][a-z0-9-]*$"
              credential:
                type: string
                description: Secret of the consumer
        mode:
          type: string
          enum: [strict, lenient]
          default: strict${extra}
      example:
        consumers:
          - name: consumer1
            credential: admin:123456
  routeConfigSchema:
    openAPIV3Schema:
      type: object
      properties:
        allow:
          type: array
          items: { type: string }
          title: Allowed consumers
          x-title-i18n:
            zh-CN: 授权访问的调用者
`;
}

const README = (name: string) => `# ${name}

## Description
The plugin \`${name}\` is documented at [higress.ai](https://higress.ai/en/docs/latest/plugins/).

| Name | Type | Required |
|---|---|---|
| \`consumers\` | array of object | yes |

\`\`\`yaml
consumers:
- credential: 'admin:123456'
  name: consumer1
\`\`\`
`;

const README_ZH = (name: string) => `# ${name}

## 功能说明
\`${name}\` 插件的说明见 [higress.cn](https://higress.cn/docs/latest/plugins/)。

\`\`\`yaml
consumers:
- credential: 'admin:123456'
  name: consumer1
\`\`\`
`;

/** All plugins of the shipped manifest.json with small modules and realistic documents. */
export async function sampleCatalog(): Promise<Planned[]> {
  const { versions, aliases } = await readPluginManifest(resolve(import.meta.dirname, '../../manifest.json'));
  const own = versions.map((wanted, index): Planned => {
    const { name, version, source } = wanted;
    return {
      name,
      version,
      bytes: moduleOf(`${name} ${version}`, 4000 + ((index * 7919) % 90_000)),
      pinned: name !== 'waf',
      created: `2026-0${1 + (index % 9)}-15T08:00:00Z`,
      ...(source.kind === 'image' ? { reference: formatReference(source.reference) } : {}),
      ...(name.startsWith('ai-') ? { signer: 'https://github.com/higress-group/plugins' } : {}),
      files: {
        'spec.yaml': Buffer.from(spec(name, version)),
        'README.md': Buffer.from(README_ZH(name)),
        'README_EN.md': Buffer.from(README(name)),
      },
    };
  });
  const copies = aliases.flatMap(({ name, version, target }) => {
    const real = own.find(each => each.name === name && each.version === target);
    return real === undefined ? [] : [{ ...real, version, aliasOf: target }];
  });
  return [...own, ...copies];
}

/** The same bytes in every run, so that pictures and digests do not change. */
function moduleOf(seed: string, sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes, seed);
  bytes.write('\0asm\x01\0\0\0', 0, 'latin1');
  return bytes;
}
