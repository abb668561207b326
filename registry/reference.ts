import { type Digest, isDigest } from '../base/digest.ts';
import { printable } from '../base/printable.ts';
import { Refusal } from '../base/refusal.ts';

export { type Digest, isDigest };

/** A parsed image reference. It has a tag or a digest or both; with both, the digest decides. */
export interface Reference {
  /** Host with its port if it has one, e.g. `127.0.0.1:5000` or `[::1]:5000`. */
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

export class ReferenceInvalid extends Refusal {
  readonly code = 'REFERENCE_INVALID';
}

// OCI distribution-spec, Pulling manifests: <name> and <reference>.
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const HOST =
  /^(?:\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*)(?::([0-9]{1,5}))?$/;
// A pattern with repeats overflows the stack on a text of megabytes.
const LONGEST_REPOSITORY = 255;
/** A name of DNS (RFC 1035, 2.3.4) with a port. */
const LONGEST_HOST = 253 + ':65535'.length;
/** `HOST/REPOSITORY[:TAG]@` followed by something other than a digest, such as `…@latest`: a mistake, not user info. */
const ENDS_OTHERWISE = /^[^/:@?]+(?::[0-9]{1,5})?\/[^:@?]*(?::[a-zA-Z0-9_.-]*)?@[^@/:?]*$/;

export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** Returns true if the first part of an image name is a host: it has a dot or a port, is `localhost`, or has brackets. */
export function isHost(part: string): boolean {
  return (part === 'localhost' || /[.:[]/.test(part)) && isRegistry(part);
}

/** Returns true for `HOST` or `HOST:PORT`, including a name without dots, such as one of a cluster's DNS. */
export function isRegistry(text: string): boolean {
  const match = text.length > LONGEST_HOST ? null : HOST.exec(text);
  if (match === null || (match[1] !== undefined && !(Number(match[1]) > 0 && Number(match[1]) < 65_536))) return false;
  // Rejects brackets without an address, and 1.2.3.999.
  return URL.canParse(`https://${text}`);
}

/** Returns the hint for a host that one correction makes valid; undefined for any other text. */
export function hostHint(host: string): string | undefined {
  if (host.includes('_') && isRegistry(host.replaceAll('_', '-')))
    return `The underscore in ${host} is not allowed in a host name (RFC 1123), and docker refuses it, too: give the host another name, such as ${host.replaceAll('_', '-')}, for instance with a network alias in docker compose.`;
  const withoutDot = host.replace(/\.(?=:|$)/, '');
  if (withoutDot !== host && isRegistry(withoutDot))
    return `A host name in an image reference has no dot at its end, for docker, too: write ${withoutDot}.`;
  const [, port] = /^[^:]+:(\d*)$/.exec(host) ?? [];
  return port === undefined || isRegistry(host) ? undefined : 'A port is a number from 1 to 65535.';
}

export function isRepository(text: string): boolean {
  return text.length <= LONGEST_REPOSITORY && REPOSITORY.test(text);
}

/** Parses `REGISTRY/REPOSITORY[:TAG][@DIGEST]`, with or without `oci://` in front (distribution-spec, Pulling manifests). @throws ReferenceInvalid */
export function parseReference(ref: string): Reference {
  const text = ref.replace(/^oci:\/\//, '');
  const refuse = (expected: string, found: string, hint?: string): never => {
    const shown = ENDS_OTHERWISE.test(text) ? ref : withoutLogin(ref);
    throw new ReferenceInvalid(`"${printable(shown)}" is not an image reference`, {
      subject: printable(shown),
      expected,
      // A part of the user info must not be shown either.
      found: shown === ref ? printable(found) : 'a user name, a password or a query string in it',
      hint: hint ?? 'Write it as HOST/REPOSITORY:TAG or HOST/REPOSITORY@sha256:…',
    });
  };
  const slash = text.indexOf('/');
  const registry = slash < 0 ? '' : text.slice(0, slash);
  if (!isRegistry(registry)) refuse('a registry host before the first "/"', registry || text, hostHint(registry));
  const [path = '', digest, ...more] = text.slice(slash + 1).split('@');
  if (more.length > 0 || (digest !== undefined && !isDigest(digest)))
    refuse('sha256:<64 lower-case hex digits> or sha512:<128> after "@"', [digest, ...more].join('@'));
  const colon = path.indexOf(':');
  const repository = colon < 0 ? path : path.slice(0, colon);
  if (!isRepository(repository))
    refuse('a repository of lower-case letters, digits, ".", "_", "-" and "/"', repository);
  const tag = colon < 0 ? undefined : path.slice(colon + 1);
  if (tag !== undefined && !isTag(tag)) refuse('a tag of at most 128 letters, digits, ".", "_", "-"', tag);
  if (tag === undefined && digest === undefined) refuse('a :TAG or an @DIGEST', 'neither');
  return {
    registry,
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest: digest as Digest }),
  };
}

/** Returns `REGISTRY/REPOSITORY[:TAG][@DIGEST]`, the inverse of parseReference. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`;
  return `${reference.registry}/${reference.repository}${tag}${digest}`;
}

/**
 * Returns a host, URL or reference from user input for a message: without the user info before `@` and without the query
 * string. The `@` of a digest stays.
 */
export function withoutLogin(text: string): string {
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(text)?.[0] ?? '';
  let at = text.lastIndexOf('@');
  while (at > 0 && /^@sha\d{1,4}:/i.test(text.slice(at, at + 9))) at = text.lastIndexOf('@', at - 1);
  const bare = at < 0 || (at === 0 && /^@sha\d{1,4}:/i.test(text)) ? text : `${scheme}***${text.slice(at)}`;
  const query = bare.indexOf('?');
  return query >= 0 && bare.includes('=', query) ? `${bare.slice(0, query)}?…` : bare;
}
