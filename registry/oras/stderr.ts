import { shortLine } from '../../base/printable.ts';
import { blamed, fixedBy } from '../builtin/faults/blame.ts';
import type { NamedBy } from '../builtin/http/reply.ts';
import {
  RegistryDenied,
  RegistryDigestMismatch,
  RegistryDns,
  RegistryNotFound,
  RegistryProtocol,
  RegistryProxy,
  RegistryRateLimited,
  RegistryRedirect,
  RegistryRefusal,
  type RegistryRefusalDetails,
  RegistryRefused,
  RegistryTimeout,
  RegistryTls,
  RegistryUnauthorized,
  RegistryUnavailable,
} from '../errors.ts';
import { isDockerHub } from '../hosts/hosts.ts';

/** ORAS failed for a reason that is not known here; the message has its output. */
export class OrasFailed extends RegistryRefusal {
  readonly code = 'ORAS_FAILED';
}

type Make = (message: string, details: RegistryRefusalDetails) => RegistryRefusal;

interface Pattern {
  readonly sign: RegExp;
  readonly make: Make;
  readonly hint: string;
  readonly temporary?: boolean;
  readonly retryLimit?: number;
}

const unauthorized: Make = (message, details) => new RegistryUnauthorized(message, details);
const denied: Make = (message, details) => new RegistryDenied(message, details);
const unavailable: Make = (message, details) => new RegistryUnavailable(message, details);
const LOGIN = 'Log in to the registry, or check the name: several registries answer the same for a missing repository.';
const AGAIN =
  'The connection or the registry is unstable. Run it again, or use --engine builtin, which resumes interrupted downloads.';

/**
 * Output of ORAS and of Go's network code, and the error of this room for it. The first match decides, so specific patterns come
 * before those of errors that may wrap them. ORAS has already retried 408, 429 and 5xx five times.
 */
const PATTERNS: readonly Pattern[] = [
  {
    sign: /proxyconnect|proxy authentication required|socks connect/i,
    make: (message, details) => new RegistryProxy(message, details),
    hint: 'Check HTTP_PROXY, HTTPS_PROXY and NO_PROXY, and the credentials in them.',
  },
  {
    sign: /no such host|server misbehaving|name resolution|dial tcp: lookup/i,
    make: (message, details) => new RegistryDns(message, details),
    hint: 'Check the name of the registry and the DNS server of this machine.',
    temporary: true,
    retryLimit: 2,
  },
  {
    sign: /x509:|tls: |http response to https client|certificate/i,
    make: (message, details) => new RegistryTls(message, details),
    hint: 'Name the certificate authority with --ca-file; for a registry without TLS use --plain-http.',
  },
  {
    sign: /connection refused/i,
    make: (message, details) => new RegistryRefused(message, details),
    hint: 'Check the host and port of the registry, and that it is running.',
    temporary: true,
  },
  {
    sign: /stopped after \d+ redirects|unsupported protocol scheme/i,
    make: (message, details) => new RegistryRedirect(message, details),
    hint: "The registry's redirects do not end; check its address and the proxies in front of it.",
  },
  {
    sign: /malformed http|unexpected content-type|invalid character|missing required header/i,
    make: (message, details) => new RegistryProtocol(message, details),
    hint: 'Check that the host is a registry, and that no proxy changes its replies.',
  },
  {
    sign: /status(?: code)? 429|toomanyrequests|too many requests/i,
    make: (message, details) => new RegistryRateLimited(message, details),
    hint: 'Wait, log in, or lower --concurrency.',
    temporary: true,
    retryLimit: 0,
  },
  {
    sign: /status(?: code)? 401|unauthorized|basic credential not found|incorrect username/i,
    make: unauthorized,
    hint: LOGIN,
  },
  { sign: /status(?: code)? 403|denied|forbidden/i, make: denied, hint: LOGIN },
  { sign: /status(?: code)? 5\d\d|unavailable: /i, make: unavailable, hint: AGAIN, temporary: true, retryLimit: 0 },
  {
    sign: /i\/o timeout|deadline exceeded|handshake timeout|status(?: code)? 408|client\.timeout/i,
    make: (message, details) => new RegistryTimeout(message, details),
    hint: 'Check the network and its proxies.',
    temporary: true,
    retryLimit: 2,
  },
  {
    sign: /connection reset|\beof\b|broken pipe|connection (?:was )?(?:closed|aborted)|stream error|goaway|http2: |network is unreachable|no route to host/i,
    make: unavailable,
    hint: AGAIN,
    temporary: true,
  },
  {
    sign: /mismatch|trailing data|content size/i,
    make: (message, details) => new RegistryDigestMismatch(message, details),
    hint: 'Something between this machine and the registry changes the bytes, or the registry is damaged. Push the image again.',
  },
];

/** Returns the error for ORAS' output on stderr, of the kind that the built-in engine would report. */
export function orasError(stderr: string, subject: string, missing: RegistryNotFound['missing']): RegistryRefusal {
  const text = redact(stderr);
  const said = /^Error response from registry: (.*)$/m.exec(text)?.[1];
  const words = said ?? text.replace(/^Error: /, '');
  const named = namedHostIn(words, subject);
  const details = (hint: string) => ({
    subject,
    hint: fixedBy(named?.by, named?.host ?? '', hint),
    ...(named === undefined ? {} : { faultIn: named.host }),
    ...(said === undefined ? {} : { registrySaid: said }),
  });
  const status = Number(/status(?: code)? (\d{3})/.exec(words)?.[1] ?? Number.NaN);
  if (named?.by.role === 'token server' && status >= 400 && status < 500 && ![401, 403, 408, 429].includes(status))
    return new RegistryProtocol(blamed(named.by, named.host, words), {
      ...details('The repository and the credentials are not at fault.'),
      status,
      hostwide: true,
    });
  // ORAS prints "not found" at the end; elsewhere it may be part of a repository's name.
  if (
    /: not found$|status(?: code)? 404/i.test(words) ||
    /name unknown|manifest unknown|blob unknown/i.test(said ?? '')
  )
    return new RegistryNotFound(`${subject} was not found: ${words}`, {
      ...details('Check the name and the tag, and that the host is a registry.'),
      missing: /name unknown/i.test(words) ? 'repository' : missing,
    });
  const known = PATTERNS.find(({ sign }) => sign.test(withoutNames(words, subject)));
  if (known === undefined)
    return new OrasFailed(`ORAS failed for ${subject}: ${words || 'without a message'}`, {
      ...details('Try the same with --engine builtin.'),
    });
  const { make, hint, temporary = false, retryLimit } = known;
  return make(named === undefined ? `${subject}: ${words}` : blamed(named.by, named.host, words), {
    ...details(hint),
    temporary,
    ...(retryLimit === undefined ? {} : { retryLimit }),
    ...(Number.isNaN(status) ? {} : { status }),
  });
}

/**
 * Returns the host that failed, if the registry named it: ORAS prints the request for a token after the request to the
 * registry, and Go prints the address of a redirect in place of the first one.
 */
function namedHostIn(words: string, subject: string): { readonly by: NamedBy; readonly host: string } | undefined {
  const registry = subject.slice(0, subject.indexOf('/'));
  const urls = [...words.matchAll(/\b(?:GET|HEAD|POST) "(https?:\/\/[^"\s]{1,2000})"/gi)].map(([, url = '']) => url);
  const [first = '', last = ''] = [urls[0], urls.at(-1)];
  if (!URL.canParse(last) || !URL.canParse(first)) return undefined;
  const { host } = new URL(last);
  const api = new URL(`/v2/`, first);
  if (urls.length > 1) return { host, by: { role: 'token server', registry, api } };
  const isOwn = host === registry || isDockerHub(registry);
  return isOwn ? undefined : { host, by: { role: 'storage host', registry, api } };
}

const MOST_READ = 16_384;

/** Removes user info and queries of URLs, which may hold secrets. */
function redact(stderr: string): string {
  const bare = stderr
    .slice(0, MOST_READ)
    .replace(/\b([a-z]+:\/\/)[^/@\s"]*@/gi, '$1')
    .replace(/\?[^\s"]*/g, '');
  return shortLine(bare, 600);
}

/** Removes URLs and the reference, because their parts could look like an error. */
function withoutNames(words: string, subject: string): string {
  return words.replaceAll(subject, '').replace(/https?:\/\/[^\s"]*/g, '');
}
