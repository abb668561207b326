import { A_DIGEST } from '../../base/digest.ts';
import {
  type Digest,
  hostHint,
  isDigest,
  isHost,
  isRegistry,
  isRepository,
  isTag,
  withoutLogin,
} from '../../registry/reference.ts';
import { quoted } from '../json/problem.ts';

/** An image as written in the manifest: a reference whose missing parts come from other keys. */
export interface ImageParts {
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/** `HOST[/PREFIX]`, for images that name no host. */
export interface RegistryPrefix {
  readonly registry: string;
  /** Without leading and trailing slashes; empty if there is none. */
  readonly prefix: string;
}

/** What is wrong with a text, as the parts of a Problem. */
export interface Fault {
  readonly found: string;
  readonly expected: string;
  readonly hint?: string;
}

const credentialsHint = 'Credentials come from docker’s config.json, never from this file.';

export function parseRegistryPrefix(text: string): RegistryPrefix | Fault {
  const expected = 'a registry, HOST[:PORT] or HOST[:PORT]/PREFIX';
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text);
  if (scheme)
    return {
      found: quoted(withoutLogin(text)),
      expected,
      hint: `Remove ${scheme[0].toLowerCase()}; --plain-http is for http.`,
    };
  if (text.includes('@'))
    return {
      found: quoted(withoutLogin(text)),
      expected,
      hint: credentialsHint,
    };
  const slash = text.indexOf('/');
  const registry = slash < 0 ? text : text.slice(0, slash);
  const prefix = slash < 0 ? '' : text.slice(slash + 1).replace(/\/$/, '');
  if (!isRegistry(registry)) return { found: quoted(withoutLogin(text)), expected, ...hintFor(registry) };
  if (prefix !== '' && !isRepository(prefix))
    return { found: quoted(withoutLogin(text)), expected: `${expected}, the prefix in lower case` };
  return { registry, prefix };
}

/** Parses `[oci://][HOST/]REPOSITORY[:TAG][@DIGEST]`; without a host it is relative to `base`. */
export function parseImage(text: string, base: RegistryPrefix): ImageParts | Fault {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[0];
  const expected = 'an image, [HOST/]REPOSITORY';
  const login = loginFault(text, expected);
  if (login !== undefined) return login;
  if (scheme !== undefined && scheme !== 'oci://')
    return { found: shown(text), expected, hint: `Remove ${scheme}, or write oci://.` };
  const [path = '', ...digests] = text.slice(scheme?.length ?? 0).split('@');
  const digest = digests.join('@');
  if (digests.length > 0 && !isDigest(digest)) return { found: shown(text), expected: `${A_DIGEST} after the @` };
  const colon = path.lastIndexOf(':');
  const hasTag = colon > path.lastIndexOf('/');
  const tag = hasTag ? path.slice(colon + 1) : undefined;
  if (tag !== undefined && !isTag(tag)) return { found: shown(text), expected: `${expected}[:TAG], ${tagRule}` };
  const name = hasTag ? path.slice(0, colon) : path;
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  // After oci:// the first part is always a host: a name in a cluster's DNS needs no dot.
  const whole = scheme === undefined ? isHost(first) : isRegistry(first);
  const registry = whole ? first : base.registry;
  const repository = whole ? name.slice(slash + 1) : base.prefix === '' ? name : `${base.prefix}/${name}`;
  if (scheme !== undefined && !whole)
    return { found: shown(text), expected: 'oci://HOST/REPOSITORY', ...hintFor(first) };
  if (!isRepository(repository))
    return {
      found: shown(text),
      expected: `${expected}; a repository has lower-case letters, digits, ".", "_", "-" and "/", at most 255`,
      ...hintFor(/[.:]/.test(first) ? first : ''),
    };
  return {
    registry,
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digests.length === 0 ? {} : { digest: digest as Digest }),
  };
}

function hintFor(host: string): Pick<Fault, 'hint'> {
  const hint = hostHint(host);
  return hint === undefined ? {} : { hint };
}

export const tagRule = 'a tag has at most 128 letters, digits, ".", "_", "-" and does not start with "." or "-"';

/** Parses a value of `tags`: `TAG`, `TAG@DIGEST`, `@DIGEST`, `DIGEST`, or a whole image with a tag or a digest. */
export function parseTagText(
  text: string,
  base: RegistryPrefix,
): ImageParts | { readonly tag?: string; readonly digest?: Digest } | Fault {
  const login = loginFault(text, 'a tag, a digest or a whole image');
  if (login !== undefined) return login;
  if (text.includes('/')) {
    const image = parseImage(text, base);
    if (isFault(image) || image.tag !== undefined || image.digest !== undefined) return image;
    return { found: shown(text), expected: 'an image with its :TAG or @DIGEST' };
  }
  if (isDigest(text)) return { digest: text };
  const { before, digest } = splitPin(text);
  if (digest !== undefined && !isDigest(digest)) return { found: shown(text), expected: `${A_DIGEST} after the @` };
  const pin = digest === undefined ? {} : { digest: digest as Digest };
  if (before === '' && digest !== undefined) return pin;
  if (!isTag(before))
    return {
      found: shown(text),
      expected: `a tag, a digest or a whole image; ${tagRule}`,
      ...(/^sha(256|512):/.test(text) ? { hint: `A digest is ${A_DIGEST}.` } : {}),
    };
  return { tag: before, ...pin };
}

/** Splits `2.0.1@sha256:…` into the version and its pin, without validating them. */
export function splitPin(text: string): { readonly before: string; readonly digest?: string } {
  const at = text.indexOf('@');
  return at < 0 ? { before: text } : { before: text.slice(0, at), digest: text.slice(at + 1) };
}

export function isFault<T extends object>(parsed: T | Fault): parsed is Fault {
  return 'expected' in parsed;
}

/** Returns the fault of a pin that is not a digest. */
export function pinFault(text: string): Fault {
  return { found: shown(text), expected: `${A_DIGEST} after the @` };
}

/**
 * Returns the fault of a text with a user name, with or without a password, before a host: `ann:secret@h.io/x`, but not
 * `a/b:1@latest` or a digest's `@`.
 */
export function loginFault(text: string, expected: string): Fault | undefined {
  const at = loginEnd(text);
  const [before, after] = at < 0 ? ['', ''] : [text.slice(0, at), text.slice(at + 1)];
  const isLogin = before !== '' && (after.includes('/') || (before.includes(':') && isHost(after)));
  return isLogin ? { found: quoted(withoutLogin(text)), expected, hint: credentialsHint } : undefined;
}

/** Quoted, without a possible password. */
function shown(text: string): string {
  const colon = text.indexOf(':');
  return quoted(colon >= 0 && colon < loginEnd(text) ? withoutLogin(text) : text);
}

/** The place of the last `@` that is no digest's; -1 without one. Not a pattern: from each colon, it would read all that follows. */
function loginEnd(text: string): number {
  let at = text.lastIndexOf('@');
  while (at >= 0 && /^@sha\d+:/i.test(text.slice(at, at + 12))) at = at === 0 ? -1 : text.lastIndexOf('@', at - 1);
  return at;
}
