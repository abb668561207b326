/**
 * The Chinese meanings of the options for docs/zh/options.md, by their English help. A test requires one for each help of the
 * command line and no other, so that a changed help is translated again.
 */
export const CHINESE_HELP: Readonly<Record<string, string>> = {
  'release of Higress whose plugins the manifest gets, such as 2.2.5 (repeatable; default: the newest)':
    '要支持的 Higress 版本，例如 2.2.5（可重复；默认：最新版本）',
  'only plugins whose name matches (repeatable; default: all)': '只包含名称匹配的插件（可重复；默认：全部）',
  'registry that has the images (default: that of Higress)': '存放镜像的镜像仓库（默认：Higress 的镜像仓库）',
  'write the manifest instead of printing it': '写入清单文件，而不是打印出来',
  'the file that --write writes': '`--write` 写入的文件',
  'replace an existing manifest': '替换已有的清单',
  'print a Dockerfile for a folder with a manifest and its lockfile, and exit':
    '打印一个 Dockerfile 后退出，供含有清单及其锁文件的目录使用',
  'print the known releases of Higress and exit': '打印已知的 Higress 版本后退出',
  'the manifest': '清单',
  'read manifest and images from this bundle, without a network: a tar, its first part or .sha256 file, or a folder':
    '清单和镜像都从这个打包文件读取，不访问网络：tar、它的第一个分卷或 .sha256 文件，或者一个目录',
  'the tree to publish into': '发布到的插件目录',
  'the same as --tree': '与 `--tree` 相同',
  'mirror only plugins whose NAME or NAME/VERSION matches; !GLOB excludes':
    '只同步 NAME 或 NAME/VERSION 匹配的插件；`!GLOB` 表示排除',
  'mirror exactly the images of manifest.lock.json, or fail (the default if CI is set)':
    '只同步 manifest.lock.json 锁定的镜像，否则失败（设置了 CI 时为默认）',
  'resolve tags even if CI is set': '即使设置了 CI 也解析标签',
  'take the images to which the tags of these plugins, or of all, lead now':
    '采用这些插件的标签现在指向的镜像；不写名称时为全部插件',
  'the lockfile (default: next to the manifest, manifest.lock.json for manifest.json)':
    '锁文件（默认：与清单在同一目录，manifest.json 对应 manifest.lock.json）',
  'neither read nor write a lockfile': '既不读取也不写入锁文件',
  'remove versions that the manifest does not name; with --only, only those that match':
    '删除清单中没有的版本；与 `--only` 同用时，只删除匹配的版本',
  'hash every published file, even unchanged ones': '计算每个已发布文件的哈希，包括看起来没有变化的文件',
  'also publish plugin.wasm compressed: gzip, br, zstd (Node.js 22.15 or newer), separated by commas; other forms are removed':
    '同时发布压缩后的 plugin.wasm：gzip、br、zstd（需要 Node.js 22.15 或更新版本），用逗号分隔；其他形式会被删除',
  'print what would be done and how much would be downloaded; change nothing': '打印将要做的事和下载量，不做任何改动',
  'wait up to this long for another sync of the same tree': '另一个 sync 正在写同一插件目录时，最多等待这么久',
  'also write a report for CI, in the format of the extension: .md Markdown, .xml JUnit, .json code quality of GitLab':
    '同时为 CI 写一份报告，格式由扩展名决定：.md 为 Markdown，.xml 为 JUnit，.json 为 GitLab 的代码质量报告',
  'print only problems': '只打印有问题的内容',
  'stop the whole run after this long; finished plugins are kept': '整个运行超过这么久就停止；已完成的插件保留',
  'take every image from this registry instead of those that the manifest names':
    '所有镜像都从这个镜像仓库拉取，不论清单写的是哪个',
  'registry client: the built-in one, or the ORAS CLI': '访问镜像仓库的客户端：内置的客户端，或 ORAS CLI',
  'concurrent downloads of blobs': '同时下载的 blob 数',
  'use HTTP instead of HTTPS for these hosts, or for all; loopback hosts need no option':
    '对这些主机（不写主机时为全部）使用 http 而不是 https；本机回环地址不需要此选项',
  'accept any TLS certificate of these hosts, or of all; anyone on the network path can then impersonate them':
    '接受这些主机（不写主机时为全部）的任何 TLS 证书：网络路径上的任何人都能冒充它们',
  'token servers and storage hosts with private addresses to which a public registry may refer':
    '允许公网的镜像仓库指向的令牌服务器和存储主机，它们使用内网地址',
  'PEM file with additional certificate authorities': '含有其他证书颁发机构的 PEM 文件',
  'PEM file with a client certificate': '含有客户端证书的 PEM 文件',
  "PEM file with the client certificate's key": '含有客户端证书私钥的 PEM 文件',
  "docker's folder of certificates, HOST:PORT/{*.crt,*.cert,*.key} (default: /etc/docker/certs.d)":
    '与 docker 相同的证书目录，HOST:PORT/{*.crt,*.cert,*.key}（默认：/etc/docker/certs.d）',
  "docker's config.json or podman's auth.json (default: their usual paths)":
    'docker 的 config.json 或 podman 的 auth.json（默认：它们的常用路径）',
  "user name for the host of --registry, or else for the manifest's registry; needs --password-stdin or PLUGIN_MIRROR_PASSWORD":
    '`--registry` 的主机的用户名；没有 `--registry` 时用于清单中的镜像仓库；需要 `--password-stdin` 或 PLUGIN_MIRROR_PASSWORD',
  'read the password from standard input': '从标准输入读取密码',
  'platform to choose from a multi-platform image; plugins rarely need it': '从多平台镜像中选择的平台；插件很少需要',
  'close a connection that receives nothing for this long; a blob that receives less than 1 KiB in this time is requested once more':
    '连接这么久没有收到任何内容就关闭；这段时间内收到不足 1 KiB 的 blob 会再请求一次',
  'retries of a failed request; for a blob, the count restarts after each 64 KiB or 1% of it':
    '每个失败请求的重试次数；对于 blob，每收到 64 KiB 或百分之一后重新计数',
  'debug adds a line per request on stderr': 'debug 为每个请求在标准错误打印一行',
  'folder that caches blobs and partial downloads': '缓存 blob 及未完成的下载的目录',
  'size limit of the cache; 0 turns it off': '缓存的大小上限；0 表示不使用缓存',
  'auto: a live display in a terminal, otherwise plain lines':
    'auto：在终端中原地刷新，否则逐行打印；plain：总是逐行打印',
  'format of the output on stdout': '标准输出的格式',
  'folder that sync publishes into': 'sync 发布到的插件目录',
  'also serve the images of this bundle (tar or folder) through the read-only OCI registry API at /v2/':
    '同时在 /v2/ 通过只读的 OCI 镜像仓库 API 提供这个打包文件（tar 或目录）中的镜像',
  'address to listen on; :: means all addresses, IPv6 and IPv4': '监听的地址；:: 表示所有 IPv6 和 IPv4 地址',
  'port to listen on; 0 chooses a free one': '监听的端口；0 表示任意空闲端口',
  'prefix of all paths, such as /mirror; /healthz, /readyz and /metrics also work without it':
    '所有路径的前缀，例如 /mirror；/healthz、/readyz 和 /metrics 不带前缀也会响应',
  "another path for each plugin.wasm, such as '/wasm-plugins/${name}.wasm' (repeatable; without ${version}: the highest version)":
    "每个 plugin.wasm 的另一个路径，例如 '/wasm-plugins/${name}.wasm'（可重复；不含 ${version} 时为最高版本）",
  'also serve the highest version at /plugins/<name>/latest/': '最高版本同时以 /plugins/<name>/latest/ 提供',
  'when to send compressed files to clients that accept them: never (off), under load or over slow links (auto), always (on)':
    '何时向支持的客户端发送压缩文件：从不（off）、负载高或链路慢时（auto）、总是（on）',
  'memory for cached parts of files': '缓存文件内容的内存',
  'concurrent downloads; further ones wait in a queue': '同时进行的下载数；其余排队等待',
  'cut a connection whose client reads nothing for this long': '客户端这么久没有读取任何内容时，断开连接',
  'number of proxies in front of the server whose X-Forwarded-For, -Proto, -Host and -Prefix are trusted':
    '前面受信任的代理个数：采用它们的 X-Forwarded-For、-Proto、-Host 和 -Prefix',
  'address or network (10.0.0.0/8) of a NAT or a proxy that many clients share; it may use more than a quarter of the downloads while others wait (repeatable)':
    '由许多客户端共用的地址或网段（10.0.0.0/8），例如 NAT 或代理：其他客户端等待时，可以占用超过四分之一的下载（可重复）',
  'serve HTTPS with this certificate (PEM); the file is read again when it changes':
    '用这个证书（PEM）提供 HTTPS；文件变化时重新读取',
  "the certificate's key (PEM)": '该证书的私钥（PEM）',
  'require a client certificate of these authorities (PEM); other clients get 403':
    '要求客户端证书由这些机构签发（PEM）；其他客户端得到 403',
  'require the token in this file (Authorization: Bearer); PLUGIN_MIRROR_AUTH_TOKEN may hold it instead':
    '要求这个文件中的令牌（Authorization: Bearer）；也可以放在 PLUGIN_MIRROR_AUTH_TOKEN 中',
  'require this user and a password (Authorization: Basic)': '要求这个用户及密码（Authorization: Basic）',
  'file with the password; PLUGIN_MIRROR_AUTH_PASSWORD may hold it instead':
    '含有密码的文件；也可以放在 PLUGIN_MIRROR_AUTH_PASSWORD 中',
  'serve /status and /status.json': '是否提供 /status 和 /status.json',
  'the manifest.lock.json from which the tree was made; /status shows its digest':
    '生成插件目录时使用的 manifest.lock.json：/status 显示它的摘要',
  'minimum level of messages on stderr': '标准错误中信息的最低级别',
  'format of messages on stderr; auto is text in a terminal and JSON lines otherwise':
    '标准错误中信息的格式；auto 在终端中为文本，否则为 JSON 行',
  'JSON lines on stdout for all responses but successful health checks (json), failed ones (errors), every one (all), or none (off)':
    '标准输出的 JSON 行：除成功的健康检查外每个响应一行（json）、每个失败的响应一行（errors）、每个响应一行（all），或不输出（off）',
  'how long to keep serving after SIGTERM, while /readyz returns 503':
    '收到 SIGTERM 后继续提供服务的时间，期间 /readyz 返回 503',
  'how long running downloads may then take to end': '此后留给进行中的下载的时间',
  'print the effective options as JSON and exit': '以 JSON 打印实际生效的选项后退出',
  'path of the bundle (required): a name that ends in .tar, any other name for a folder, or - for stdout':
    '打包文件的路径（必填）：以 .tar 结尾的文件名，其他名称表示目录，- 表示标准输出',
  'pack only plugins whose NAME or NAME/VERSION matches; !GLOB excludes':
    '只打包 NAME 或 NAME/VERSION 匹配的插件；`!GLOB` 表示排除',
  'leave out images that the receiver already has, according to its last bundle or the manifest.lock.json of that bundle':
    '不包含接收方已有的镜像：指定接收方的上一个打包文件，或那个打包文件的 manifest.lock.json',
  'also write an archive of plugin-mirror itself next to the bundle; it needs only Node.js':
    '在打包文件旁边再写一个 plugin-mirror 本身的归档，供只有 Node.js 的机器使用',
  'print the commands with which ORAS, docker and others read the bundle':
    '打印用 ORAS、docker 等工具读取打包文件的命令',
  'split the bundle into parts of at most this size, such as 2G or 650M: FILE.001, FILE.002 …':
    '写成不超过此大小的分卷，例如 2G 或 650M：FILE.001、FILE.002 …',
  'leave out signatures, SBOMs and other artifacts that refer to the images':
    '不包含签名、SBOM 以及其他引用这些镜像的制品',
  'exit with 3 if the bundles differ': '打包文件不同时，退出码为 3',
  'push only plugins whose NAME or NAME/VERSION matches; !GLOB excludes':
    '只推送 NAME 或 NAME/VERSION 匹配的插件；`!GLOB` 表示排除',
  'print what would be pushed; change nothing': '打印将要推送的内容，不做任何改动',
  'replace tags that lead to other images': '替换指向其他镜像的标签',
  'look up what the Console of this Higress release requests, such as 2.2.5; or: controller, all-in-one (repeatable; default without other requests: the newest and both)':
    '检查这个 Higress 版本的 Console 会请求的插件，例如 2.2.5；也可以是 controller、all-in-one（可重复；没有指定其他来源时，默认为最新版本及这两项）',
  'environment of Console and Controller: an .env file, the output of env, pod manifests, Helm values or a compose file (repeatable)':
    'Console 和 Controller 的环境变量：.env 文件、env 的输出、Pod 的清单、Helm values 或 compose 文件（可重复）',
  'a URL that a gateway will request (repeatable)': '网关会请求的 URL（可重复）',
  'look the requests up in this tree instead of the manifest': '在这个插件目录而不是清单中查找被请求的插件',
  'use the plugins of this bundle: a tar, its first part or .sha256 file, or a folder':
    '改用这个打包文件中的插件：tar、它的第一个分卷或 .sha256 文件，或者一个目录',
  'look the requests up at a running server, with one HEAD request each, images at /v2/':
    '改为向运行中的服务查询，每个插件一个 HEAD 请求；镜像在 /v2/ 查询',
  'address of the mirror in the requests (default: every host in the cluster or in a private network)':
    '请求中 plugin-mirror 服务的地址（默认：集群内或内网中的任何主机）',
  'write the missing versions into the manifest': '把缺少的版本写入清单',
  'also list requests that are served': '同时列出可以提供的请求',
  'accept any TLS certificate of --against': '接受 `--against` 的任何 TLS 证书',
  'token for --against (Authorization: Bearer); PLUGIN_MIRROR_AUTH_TOKEN may hold it instead':
    '用于 `--against` 的令牌（Authorization: Bearer）；也可以放在 PLUGIN_MIRROR_AUTH_TOKEN 中',
  'user name for --against (Authorization: Basic)': '用于 `--against` 的用户名（Authorization: Basic）',
  'time limit of each HEAD request': '每个 HEAD 请求的时限',
  'concurrent HEAD requests': '同时进行的 HEAD 请求数',
  'address of the server as gateways reach it': '网关访问该服务的地址',
  'only these plugins or versions (repeatable)': '只包含这些插件或版本（可重复）',
  'take the plugins of this tree instead of the manifest': '使用这个插件目录而不是清单中的插件',
  'the file that the output is for': '输出用于哪种文件',
  'the tree': '插件目录',
  'list this manifest and its lockfile instead of the tree': '列出这个清单及其锁文件，而不是插件目录',
  'the tree to check': '要检查的插件目录',
  'compare only manifest, lockfile and registry, on a machine without the tree':
    '只比较清单、锁文件和镜像仓库，用于没有插件目录的机器',
  'the tree to verify': '要校验的插件目录',
  'also compare the tree, or the bundle, with this manifest.lock.json':
    '同时将插件目录或打包文件与这个 manifest.lock.json 比较',
  'the tree with the current versions': '含有当前版本的插件目录',
  'also count pre-releases as newer versions': '预发布版本也算作更新的版本',
  'also list plugins that are up to date': '同时列出已是最新的插件',
  'exit with 3 if there is a newer version': '有更新的版本时，退出码为 3',
  'add the newer versions to the manifest; older versions stay in it': '把更新的版本加入清单；旧版本保留',
  'write the manifest to a file instead of stdout': '把清单写入文件，而不是标准输出',
  'folder of the cache': '缓存目录',
  'keep the most recently used entries up to this size': '保留最近使用的内容，直到这个大小',
};
