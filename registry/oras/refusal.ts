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
import { printable } from '../hosts/redact.ts';

/** ORAS failed in a way that has no name here; its own words are in the message. */
export class OrasFailed extends RegistryRefusal {
  readonly code = 'ORAS_FAILED';
}

type Make = (message: string, details: RegistryRefusalDetails) => RegistryRefusal;

interface Reading {
  readonly sign: RegExp;
  readonly make: Make;
  readonly hint: string;
  readonly temporary?: boolean;
  readonly retryLimit?: number;
}

const unauthorized: Make = (message, details) => new RegistryUnauthorized(message, details);
const denied: Make = (message, details) => new RegistryDenied(message, details);
const unavailable: Make = (message, details) => new RegistryUnavailable(message, details);
const LOGIN =
  'Log in to the registry, or check the name: several registries answer the same for a repository that is not there.';
const AGAIN = 'The line or the registry is unstable. Run it again, or use --engine builtin, which resumes what broke.';

/**
 * What ORAS and Go's network code write, and what it is in this room's terms. The first that fits decides, so what is
 * specific stands before what it may be wrapped in. ORAS itself has repeated 408, 429 and 5xx five times by then.
 */
const READINGS: readonly Reading[] = [
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
    hint: 'Check the host and port of the registry, and that it runs.',
    temporary: true,
  },
  {
    sign: /stopped after \d+ redirects|unsupported protocol scheme/i,
    make: (message, details) => new RegistryRedirect(message, details),
    hint: 'The registry sends its clients in circles; check its address and what stands in front of it.',
  },
  {
    sign: /malformed http|unexpected content-type|invalid character|missing required header/i,
    make: (message, details) => new RegistryProtocol(message, details),
    hint: 'Check that the host is a registry and nothing on the way rewrites its answers.',
  },
  {
    sign: /status(?: code)? 429|toomanyrequests|too many requests/i,
    make: (message, details) => new RegistryRateLimited(message, details),
    hint: 'Wait a while, log in, or ask for less at once with --concurrency.',
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
    hint: 'Something between here and the registry changes the bytes, or the registry lost them. Push the image again.',
  },
];

/** What ORAS wrote on stderr, as the refusal that the built-in engine would give. */
export function refusalOf(stderr: string, subject: string, missing: RegistryNotFound['missing']): RegistryRefusal {
  const text = redact(stderr);
  const said = /^Error response from registry: (.*)$/m.exec(text)?.[1];
  const words = said ?? text.replace(/^Error: /, '');
  const details = (hint: string) => ({ subject, hint, ...(said === undefined ? {} : { registrySaid: said }) });
  // "not found" is looked for where ORAS writes it, at the end: a repository may be called so.
  if (
    /: not found$|status(?: code)? 404/i.test(words) ||
    /name unknown|manifest unknown|blob unknown/i.test(said ?? '')
  )
    return new RegistryNotFound(`${subject} was not found: ${words}`, {
      ...details('Check the name and the tag.'),
      missing: /name unknown/i.test(words) ? 'repository' : missing,
    });
  const reading = READINGS.find(({ sign }) => sign.test(withoutNames(words, subject)));
  if (reading === undefined)
    return new OrasFailed(`ORAS failed for ${subject}: ${words || 'without a word'}`, {
      ...details('Try the same with --engine builtin.'),
    });
  const { make, hint, temporary = false, retryLimit } = reading;
  const status = Number(/status(?: code)? (\d{3})/.exec(words)?.[1] ?? Number.NaN);
  return make(`${subject}: ${words}`, {
    ...details(hint),
    temporary,
    ...(retryLimit === undefined ? {} : { retryLimit }),
    ...(Number.isNaN(status) ? {} : { status }),
  });
}

/** Signed URLs carry their secret in the query, proxies theirs in the user info. */
function redact(stderr: string): string {
  const bare = stderr.replace(/\b([a-z]+:\/\/)[^/@\s"]*@/gi, '$1').replace(/\?[^\s"]*/g, '');
  return printable(bare, 600);
}

/** Without URLs and the reference, whose parts could read like an error. */
function withoutNames(words: string, subject: string): string {
  return words.replaceAll(subject, '').replace(/https?:\/\/[^\s"]*/g, '');
}
