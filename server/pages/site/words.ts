import type { IncomingMessage } from 'node:http';

/**
 * The texts of the pages, in English and Chinese; why the server is not ready is in observe/status.ts and events.ts, since probes
 * and the log have the same sentences. `{name}` is a value; `{n:plugin:plugins}` is the number `n` with its noun in
 * English.
 * In Chinese, here and in the documentation, 插件目录 is the tree, 目录 is any folder, 索引 is index.json, and 插件列表 is the
 * start page that shows it.
 */
export const WORDS = {
  skip: ['Skip to the content', '跳到正文'],
  navigation: ['Site', '站点导航'],
  catalog: ['Catalog', '插件列表'],
  status: ['Status', '运行状态'],
  files: ['Files', '文件'],
  copied: ['Copied', '已复制'],
  copy: ['Copy', '复制'],
  copyUrl: ['Copy URL', '复制地址'],
  title: ['Wasm plugins', 'Wasm 插件'],
  emptyTree: ['The tree is empty: its catalog lists no plugin.', '插件目录为空：索引中没有任何插件。'],
  totals: [
    '{plugins:plugin:plugins}, {versions:version:versions}, {size}',
    '{plugins} 个插件，{versions} 个版本，共 {size}',
  ],
  tree: ['Tree', '插件目录摘要'],
  addresses: ['Addresses', '地址'],
  consolePattern: ['URL pattern for Higress Console', 'Higress Console 的插件地址模板'],
  furtherPattern: ['Further pattern (--url-pattern)', '附加地址模板（--url-pattern）'],
  loopback: [
    'Only this machine reaches this address. Gateways need the name of the Service, such as http://higress-plugin-server.higress-system.svc.',
    '该地址只能在本机访问。网关需要使用 Service 的域名，例如 http://higress-plugin-server.higress-system.svc。',
  ],
  covered: [
    'Higress {release}: {served} of {requested} requested modules are here',
    'Higress {release}：所需的 {requested} 个模块中已有 {served} 个',
  ],
  ofNumber: ['{served} of {requested}', '{served} / {requested}'],
  olderReleases: ['Older releases', '更早的版本'],
  missingVersions: ['{count:module is:modules are} missing', '缺少 {count} 个模块'],
  manifestLines: [
    'In manifest.json, under "plugins"; then run sync:',
    '写入 manifest.json 的 "plugins"，然后执行 sync：',
  ],
  search: ['Search', '搜索'],
  searchHint: ['Name, title or purpose', '名称、标题或用途'],
  category: ['Category', '分类'],
  all: ['All', '全部'],
  requestedBy: ['Requested by Higress', 'Higress 版本'],
  anyRelease: ['Any release', '不限'],
  find: ['Find', '查找'],
  found: ['{count:plugin:plugins}', '{count} 个插件'],
  showAll: ['Show all', '显示全部'],
  noMatch: ['No plugin matches. Try fewer words, or another category.', '没有匹配的插件，请减少关键词或更换分类。'],
  unknownRelease: [
    'This version of plugin-mirror has no data for Higress {release}.',
    '当前 plugin-mirror 没有 Higress {release} 的数据。',
  ],
  pages: ['Pages', '分页'],
  pageOf: ['page {page} of {pages}', '第 {page} / {pages} 页'],
  first: ['First', '首页'],
  previous: ['Previous', '上一页'],
  next: ['Next', '下一页'],
  last: ['Last', '末页'],
  goToPage: ['Page', '页码'],
  go: ['Go', '跳转'],
  needsGateway: ['needs gateway ≥ {version}', '网关版本 ≥ {version}'],
  signed: ['signed', '已签名'],
  signedBy: ['signed by {signer}', '签名者：{signer}'],
  aliasOf: ['alias of {version}', '{version} 的别名'],
  requestsVersion: ['requested: {version}', '所需版本：{version}'],
  requestedByConsumers: ['requested by {consumers}', '使用方：{consumers}'],
  moreVersions: ['+ {count:version:versions}', '及其他 {count} 个版本'],
  categoryAi: ['AI', 'AI'],
  categoryAuth: ['Authentication', '认证'],
  categorySecurity: ['Security', '安全防护'],
  categoryTraffic: ['Traffic', '流量管理'],
  categoryFlowControl: ['Flow control', '流量控制'],
  categoryFlowMonitor: ['Flow monitoring', '流量观测'],
  categoryTransform: ['Transformation', '传输协议'],
  categoryProtocol: ['Protocol', '协议'],
  categoryO11y: ['Observability', '可观测性'],
  categoryCustom: ['Custom', '自定义'],
  categoryOther: ['Other', '其他'],
  crumbs: ['Position', '当前位置'],
  newest: ['highest', '最高版本'],
  onThisPage: ['On this page', '本页内容'],
  use: ['Use it', '使用'],
  configuration: ['Configuration', '配置说明'],
  versions: ['Versions', '版本'],
  version: ['Version', '版本'],
  phase: ['phase', '执行阶段'],
  priority: ['priority', '执行优先级'],
  moduleUrl: ['URL of the module', '模块地址'],
  sha256Label: ['sha256 of plugin.wasm', 'plugin.wasm 的 sha256'],
  sourceImage: ['Source image', '来源镜像'],
  controllerSetting: ['Setting of Higress Controller', 'Higress Controller 的环境变量'],
  download: ['Download', '下载'],
  wasmPluginHint: [
    'Nothing is loaded until defaultConfig or a rule is enabled.',
    '启用 defaultConfig 或某条规则之前，网关不会加载该插件。',
  ],
  specUnusable: ['The configuration cannot be shown.', '无法显示配置说明。'],
  specAbsent: ['The image has no spec.yaml.', '镜像中没有 spec.yaml。'],
  specTooLarge: ['The file is too large or too complex to be shown:', '文件过大或过于复杂：'],
  specInvalid: ['spec.yaml cannot be used:', 'spec.yaml 无法解析：'],
  noConfig: ['spec.yaml describes no configuration.', 'spec.yaml 没有描述配置项。'],
  globalConfig: ['For the whole gateway, routes and domains', '全局、路由与域名配置'],
  routeConfig: ['For routes and domains', '路由与域名配置'],
  key: ['Key', '配置项'],
  type: ['Type', '类型'],
  default: ['Default', '默认值'],
  meaning: ['Meaning', '说明'],
  required: ['required', '必填'],
  schemaCut: ['Further keys are in', '更多配置项见'],
  example: ['Example', '示例'],
  oneOf: ['one of', '可选值'],
  minimum: ['at least', '最小值'],
  maximum: ['at most', '最大值'],
  minLength: ['characters, at least', '最少字符数'],
  maxLength: ['characters, at most', '最多字符数'],
  minItems: ['entries, at least', '最少条目数'],
  maxItems: ['entries, at most', '最多条目数'],
  matching: ['matches', '匹配'],
  format: ['format', '格式'],
  readmeLanguage: ['Language of the README', 'README 的语言'],
  readmeUnusable: ['This README cannot be shown here:', '此处无法显示该 README：'],
  readmeCut: ['The text is longer. All of it:', '内容过长，全文见'],
  file: ['File', '文件'],
  aboutPlugin: ['About {plugin}', '{plugin} 插件介绍'],
  size: ['Size', '大小'],
  image: ['Image digest', '镜像摘要'],
  created: ['Created', '构建时间'],
  changes: ['Changes', '变更'],
  aliases: ['also as {versions}', '别名：{versions}'],
  notPinned: ['not pinned', '未固定'],
  notPinnedHint: [
    'Neither manifest nor lockfile names a digest: the next sync may replace the bytes.',
    '清单与锁文件都没有记录摘要：下次 sync 可能替换内容。',
  ],
  since: ['Since {version}:', '与 {version} 相比：'],
  sameModule: ['Same module as {version}', '模块与 {version} 相同'],
  keysAdded: ['New keys:', '新增配置项：'],
  keysRemoved: ['Removed keys:', '移除配置项：'],
  lockfile: ['Lockfile', '锁文件'],
  lockfileUnreadable: ['cannot be read', '无法读取'],
  exportsAdded: ['New exports:', '新增导出：'],
  exportsRemoved: ['Removed exports:', '移除导出：'],
  notFound: ['Not found', '未找到'],
  searchCatalog: ['Search the catalog', '搜索插件列表'],
  whyPlaceholder: [
    'The URL pattern was used as it is: nothing replaced ${name} and ${version}. Only the setting HIGRESS_ADMIN_WASM_PLUGIN_CUSTOM_IMAGE_URL_PATTERN of Higress Console replaces them. In a WasmPlugin write the name and the version; in compose.yaml write $$ for $, and in a shell put the pattern in single quotes.',
    '请求直接使用了地址模板，${name} 和 ${version} 没有被替换。只有 Higress Console 的 HIGRESS_ADMIN_WASM_PLUGIN_CUSTOM_IMAGE_URL_PATTERN 会替换它们。WasmPlugin 中请填写实际的名称与版本；compose.yaml 中用 $$ 表示 $；shell 中请用单引号括住模板。',
  ],
  whyPlugin: ['There is no plugin "{name}" here.', '此处没有插件“{name}”。'],
  whyVersion: ['There is no version "{version}" of {name} here.', '此处没有 {name} 的版本“{version}”。'],
  sameVersionHere: ['The same version is here as {version}:', '该版本在此处写作 {version}：'],
  nearestVersionHere: ['The nearest version here is {version}:', '最接近的现有版本是 {version}：'],
  nearestPluginHere: ['{name} is here:', '现有 {name}：'],
  whyFile: ['{name} {version} has no such file.', '{name} {version} 中没有该文件。'],
  whyPath: [
    'Nothing is served at this path. Plugins are at /plugins/<name>/<version>/plugin.wasm.',
    '该路径没有内容。插件的路径是 /plugins/<名称>/<版本>/plugin.wasm。',
  ],
  whyServed: ['The path exists now.', '该路径现在已存在。'],
  didYouMean: ['Did you mean', '您要找的可能是'],
  versionsHere: ['Versions here:', '现有版本：'],
  filesHere: ['Files here:', '现有文件：'],
  unavailable: ['Not ready', '尚未就绪'],
  unavailableHint: [
    'Gateways get 503 and try again. Run plugin-mirror sync, or check --tree; then reload this page.',
    '网关会收到 503 并重试。请执行 plugin-mirror sync，或检查 --tree，然后刷新本页。',
  ],
  sinceStart: ['Since the start of the server, {time} UTC', '自服务启动（{time} UTC）以来'],
  notReady: ['Not ready:', '尚未就绪：'],
  allGood: ['Every request found its module, and no file is damaged.', '所有请求都找到了模块，没有损坏的文件。'],
  plugins: ['Plugins', '插件'],
  versionsAndSize: ['{versions:version:versions}, {size}', '{versions} 个版本，{size}'],
  treeChanged: ['Tree changed', '插件目录更新时间'],
  running: ['Running downloads', '正在下载'],
  queued: ['{count} queued', '排队 {count}'],
  connections: ['Connections', '连接数'],
  missingAnswers: ['404 answers', '404 次数'],
  cache: ['Cache', '缓存'],
  cacheHits: ['{percent} % of reads', '命中率 {percent} %'],
  memory: ['Memory', '内存'],
  missingTitle: ['Requests for missing files (404)', '请求了不存在的内容（404）'],
  missingHint: [
    'Gateways do not try again after 404: the plugin stays off until its configuration changes or the gateway restarts.',
    '网关收到 404 后不会重试：在配置变更或网关重启之前，该插件不会生效。',
  ],
  times: ['Times', '次数'],
  path: ['Path', '路径'],
  reason: ['Reason', '原因'],
  lastRequest: ['last at {time} UTC from {client}', '最近一次：{time} UTC，来自 {client}'],
  noTree: ['No tree is loaded.', '尚未加载插件目录。'],
  damagedTitle: ['Damaged or missing files', '损坏或缺失的文件'],
  damagedHint: ['plugin-mirror sync repairs the tree.', '执行 plugin-mirror sync 可修复插件目录。'],
  clientsGet: ['Clients get', '客户端得到'],
  damagedRow: ['damaged or missing files', '文件损坏或缺失'],
  damagedVersions: ['damaged or missing files: {versions}', '文件损坏或缺失：{versions}'],
  fixForbidden: [
    'Give the user that runs serve read permission for the file.',
    '请为运行 serve 的用户授予该文件的读取权限。',
  ],
  fixNoFile: [
    'Move the file or folder at this path away by hand; then plugin-mirror sync repairs the tree.',
    '请手动移走该路径上的内容，然后执行 plugin-mirror sync 修复插件目录。',
  ],
  fixUnreadable: [
    'Check the disk and its log; then plugin-mirror sync repairs the tree.',
    '请检查磁盘及系统日志，然后执行 plugin-mirror sync 修复插件目录。',
  ],
  faultGone: ['the file is gone from the disk', '文件已从磁盘消失'],
  faultForbidden: ['this user may not read the file', '当前用户无权读取该文件'],
  faultNoFile: ['the path is not a regular file within the tree', '该路径不是插件目录内的普通文件'],
  faultReplaced: ['another file has replaced it', '已被其他文件替换'],
  faultAltered: ['the file has other bytes than the catalog lists', '文件内容与索引不一致'],
  faultUnreadable: ['the disk or the system failed to read the file', '磁盘或系统读取失败'],
  servedNothing: ['503', '503'],
  servedCopy: ['the right bytes, from another copy', '正确的内容（来自另一份副本）'],
  servedOpen: ['the right bytes, from the file that is still open', '正确的内容（来自仍打开的文件）'],
  slowTitle: ['Slow and cut downloads', '缓慢或中断的下载'],
  slow: ['slow', '缓慢'],
  cut: ['cut', '中断'],
  plugin: ['Plugin', '插件'],
  duration: ['Duration', '耗时'],
  sent: ['Sent', '已发送'],
  client: ['Client', '客户端'],
  time: ['Time (UTC)', '时间（UTC）'],
  downloads: ['Downloads', '下载统计'],
  noDownloads: ['No module has been requested yet.', '尚无模块被请求。'],
  otherAnswers: ['Other answers', '其他响应'],
  buildAndOptions: ['Build and options', '版本与选项'],
  option: ['Option', '选项'],
  value: ['Value', '值'],
} as const satisfies Readonly<Record<string, readonly [en: string, zh: string]>>;

export type WordKey = keyof typeof WORDS;

/** Returns a text in the reader's language, not escaped. */
export type Translate = (key: WordKey, values?: Readonly<Record<string, string | number>>) => string;

export function translator(language: Language): Translate {
  const index = language === 'zh' ? 1 : 0;
  return (key, values) => {
    const text = WORDS[key][index];
    if (values === undefined) return text;
    return text.replace(/\{(\w+)(?::([^:}]+):([^}]+))?\}/g, (_, name: string, one?: string, many?: string) => {
      const value = values[name] ?? '';
      return one === undefined ? String(value) : `${value} ${value === 1 ? one : many}`;
    });
  };
}

export type Language = 'en' | 'zh';

/** The only cookie of the site: the language that the reader chose with the switch. */
export const LANGUAGE_COOKIE = 'plugin_mirror_lang';

export function isLanguage(text: string | null | undefined): text is Language {
  return text === 'en' || text === 'zh';
}

/** Returns the language of a reader: `?lang=`, else the cookie, else the better one of Accept-Language, else English. */
export function languageOf(request: IncomingMessage, query: URLSearchParams): Language {
  const asked = query.get('lang');
  if (isLanguage(asked)) return asked;
  for (const pair of (request.headers.cookie ?? '').split(';')) {
    const [name, value] = pair.split('=').map(part => part.trim());
    if (name === LANGUAGE_COOKIE && isLanguage(value)) return value;
  }
  return accepted(request.headers['accept-language'] ?? '');
}

/** RFC 9110, section 12.5.4. Of two languages with the same weight the first one counts. */
function accepted(field: string): Language {
  const weights = { en: 0, zh: 0 };
  for (const member of field.slice(0, 500).split(',')) {
    const [, tag = '', weight = '1'] = /^\s*(en|zh|\*)(?:-[\w-]+)?\s*(?:;\s*q=([\d.]+))?\s*$/i.exec(member) ?? [];
    const language = tag === '*' ? 'en' : tag.toLowerCase();
    if (isLanguage(language)) weights[language] = Math.max(weights[language], Number(weight) || 0);
  }
  if (weights.zh === weights.en) return /^\s*zh/i.test(field) ? 'zh' : 'en';
  return weights.zh > weights.en ? 'zh' : 'en';
}
