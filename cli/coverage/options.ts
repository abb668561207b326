import {
  action,
  choice,
  count,
  duration,
  file,
  parsed,
  several,
  text,
  toggle,
  type ValuesOf,
} from '../options/declare.ts';
import { baseUrl } from '../options/environment.ts';
import { BUNDLE, LOCK } from '../options/tables.ts';
import { SERVE_OPTIONS } from '../serve/options.ts';

export const COVERAGE_OPTIONS = {
  higress: several(
    '--higress <release>',
    'look up what the Console of this Higress release requests, such as 2.2.5; or: controller, all-in-one (repeatable; default without other requests: the newest and both)',
  ),
  envFile: several(
    '--env-file <file>',
    'environment of Console and Controller: an .env file, the output of env, pod manifests, Helm values or a compose file (repeatable)',
  ),
  url: several('--url <url>', 'a URL that a gateway will request (repeatable)'),
  manifest: file('--manifest <file>', 'the manifest', 'manifest.json'),
  lock: LOCK,
  tree: file('--tree <dir>', 'look the requests up in this tree instead of the manifest'),
  bundle: BUNDLE,
  against: parsed<URL | undefined>(
    '--against <url>',
    'look the requests up at a running server, with one HEAD request each, images at /v2/',
    baseUrl,
    undefined,
  ),
  base: parsed<URL | undefined>(
    '--base <url>',
    'address of the mirror in the requests (default: every host in the cluster or in a private network)',
    baseUrl,
    undefined,
  ),
  urlPattern: SERVE_OPTIONS.urlPattern,
  fix: action('--fix', 'write the missing versions into the manifest'),
  all: toggle('--all', 'also list requests that are served'),
  caFile: file('--ca-file <file>', 'PEM file with additional certificate authorities'),
  insecure: toggle('--insecure', 'accept any TLS certificate of --against'),
  certFile: file('--cert-file <file>', 'PEM file with a client certificate'),
  keyFile: file('--key-file <file>', "PEM file with the client certificate's key"),
  authTokenFile: file(
    '--auth-token-file <file>',
    'token for --against (Authorization: Bearer); PLUGIN_MIRROR_AUTH_TOKEN may hold it instead',
  ),
  authUser: text('--auth-user <name>', 'user name for --against (Authorization: Basic)'),
  authPasswordFile: file(
    '--auth-password-file <file>',
    'file with the password; PLUGIN_MIRROR_AUTH_PASSWORD may hold it instead',
  ),
  timeout: duration('--timeout', 'time limit of each HEAD request', [0.1, 3600], 30),
  concurrency: count('--concurrency <n>', 'concurrent HEAD requests', [1, 64], 8),
  format: choice('--format <kind>', 'format of the output on stdout', ['text', 'json'], 'text'),
} as const;

export type CoverageFlags = ValuesOf<typeof COVERAGE_OPTIONS>;
