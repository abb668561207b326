import { parseBoundedJson } from '../../../base/boundedJson.ts';
import { shortLine } from '../../../base/printable.ts';
import type { Diagnostic } from '../../errors.ts';
import type { Reply } from '../http/reply.ts';

/** The content of an error reply: the distribution-spec's error codes if it has them, otherwise its first characters. */
export interface ErrorBody {
  readonly diagnostics: readonly Diagnostic[];
  /** One line for people; undefined if there is none. */
  readonly said: string | undefined;
  readonly isHtml: boolean;
  /** Of an HTML page. */
  readonly title?: string;
  /** True for what a port with TLS answers to plain http. */
  readonly isForTls?: boolean;
}

/** Go: "sent an HTTP request to an HTTPS server"; nginx, Apache, Tomcat: "… to HTTPS port", "SSL-enabled server port", "requires TLS". */
const FOR_TLS = /to (?:an )?HTTPS (?:server|port)|SSL-enabled server port|combination of host and port requires TLS/i;

const LENGTH = 300;
/** Far more than is shown. The patterns below read no longer text. */
const MOST_READ = 4096;
/** More text of secrets than any registry needs: then nothing that a server says is shown. */
const MOST_SECRET = 32_768;
/** Cut off together with a text that is too long: a secret at its end may have lost the part by which it is found. */
const CUT_OFF = 1024;

type Sent = Pick<Reply, 'request' | 'proxy'>;

/**
 * Returns patterns for every secret that a request carried, in all forms in which the server could repeat it; undefined if
 * they are too many to look for.
 */
function secretsOf({ request: { headers, body, url }, proxy }: Sent): RegExp[] | undefined {
  const sent = Object.entries(headers).flatMap(([name, value]) => (/authorization$/i.test(name) ? [value] : []));
  const bare = sent.map(value => value.replace(/^\w+\s+/, ''));
  const pairs = bare.map(value => Buffer.from(value, 'base64').toString('utf8')).filter(text => text.includes(':'));
  const fields = [...new URLSearchParams(typeof body === 'string' ? body : '')].flatMap(([name, value]) =>
    /token|password/.test(name) ? [value] : [],
  );
  const login = proxy?.password ? [proxy.password, decoded(proxy.password)] : [];
  const query = secretsInQuery(url);
  const passwords = pairs.map(pair => pair.slice(pair.indexOf(':') + 1));
  const secrets = [...bare, ...passwords, ...fields, ...login, ...query].filter(secret => secret.length > 3);
  if (secrets.join('').length > MOST_SECRET) return undefined;
  // The longest first, because one may be a part of another.
  return [...new Set(secrets)].sort((one, other) => other.length - one.length).flatMap(secretPatterns);
}

/** Signed URLs carry secrets in the query. A token request's parameters are no secrets and help in messages. */
function secretsInQuery({ search }: URL): string[] {
  return search
    .slice(1)
    .split('&')
    .flatMap(pair => {
      const [, name = '', value = ''] = /^([^=]*)=(.*)$/s.exec(pair) ?? [];
      if (/^(?:scope|service|client_id|account)$/.test(name)) return [];
      const forms = [value, decoded(value), decoded(value.replaceAll('+', ' '))];
      const leastLength = SECRET_NAME.test(name) ? 4 : 8;
      return decoded(value).length < leastLength ? [] : forms;
    });
}

const SECRET_NAME = /sig|token|secret|password|credential|key/i;

/** Decodes %XX; returns a text with other uses of % unchanged. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function withoutSecrets(whole: string, secrets: readonly RegExp[] | undefined): string {
  if (secrets === undefined) return '';
  const text = whole.length > MOST_READ ? whole.slice(0, MOST_READ) : whole;
  const masked = masks(text, secrets);
  return whole.length > MOST_READ ? masked.slice(0, Math.max(LENGTH, masked.length - CUT_OFF)) : masked;
}

function masks(text: string, secrets: readonly RegExp[]): string {
  const clean = secrets.reduce((rest, secret) => rest.replace(secret, '***'), text).replace(/\*{4,}/g, '***');
  // The proxy's login is in a header of the transport, and a token may be that of another request.
  return clean
    .replace(/\b(Basic|Bearer)(\s{1,20})[A-Za-z0-9+/=._~-]{8,}/gi, '$1$2***')
    .replace(/<(AWSAccessKeyId|SignatureProvided|StringToSign\w{0,40}|CanonicalRequest\w{0,40})>[^<]*/gi, '<$1>***')
    .replace(/([\w-]{0,40}(?:signature|sig|token|credential|accesskeyid))=[^\s&<>"',;]+/gi, '$1=***');
}

/** Returns a server's text without the secrets of its request, which some servers repeat. */
export function withoutSecretsOf(text: string, sent: Sent): string {
  return withoutSecrets(text, secretsOf(sent));
}

/**
 * Reads `{"errors":[{code,message,detail}]}` (distribution-spec, Error codes), a token server's `{"details"}` and similar
 * bodies. Secrets that the server repeats are masked: in text as it is, in JSON after parsing, which undoes the escapes.
 * Text is cut to 300 characters. Never throws.
 */
export function readErrorBody(body: Buffer, contentType: string | undefined, sent?: Sent): ErrorBody {
  const secrets = sent === undefined ? [] : secretsOf(sent);
  const clean = (words: string): string => withoutSecrets(words, secrets);
  const text = body.toString('utf8').trim();
  const isHtml = looksLikeHtml(text, contentType);
  const isForTls = FOR_TLS.test(text.slice(0, MOST_READ));
  if (isHtml)
    return {
      isForTls,
      diagnostics: [],
      said: undefined,
      isHtml,
      title: titleOf(clean(text.slice(Math.max(0, text.search(/<title>/i))))),
    };
  const json = parseJson(text);
  const diagnostics = diagnosticsOf(json, clean);
  if (diagnostics.length > 0) {
    const lines = diagnostics.map(({ code, message }) => (message === '' ? code : `${code}: ${message}`));
    return { diagnostics, said: shortLine(lines.join('; '), LENGTH), isHtml };
  }
  const words = json === undefined ? text : plainWords(json) || foreignWords(json);
  return { diagnostics, said: shortLine(clean(words), LENGTH) || undefined, isHtml, isForTls };
}

function titleOf(page: string): string {
  return shortLine(/<title>([^<]{0,300})/i.exec(page)?.[1] ?? '', LENGTH);
}

export function looksLikeHtml(text: string, contentType: string | undefined): boolean {
  return (
    /^\s*text\/html|^\s*application\/xhtml/i.test(contentType ?? '') || /^\ufeff?\s*<(?:!doctype html|html)/i.test(text)
  );
}

function diagnosticsOf(json: unknown, clean: (words: string) => string): Diagnostic[] {
  const errors = member(json, 'errors');
  if (!Array.isArray(errors)) return [];
  return errors.slice(0, 5).flatMap((error: unknown): Diagnostic[] => {
    const code = shortLine(clean(textOf(member(error, 'code'))), 60);
    const message = shortLine(clean(textOf(member(error, 'message'))), LENGTH);
    return code === '' && message === '' ? [] : [{ code: code || 'UNKNOWN', message }];
  });
}

function plainWords(json: unknown): string {
  for (const name of ['error_description', 'details', 'message', 'detail', 'title', 'error']) {
    const words = textOf(member(json, name));
    if (words !== '') return words;
  }
  return '';
}

/** Names what an object has instead of a registry's `errors`, such as the error of another API. */
function foreignWords(json: unknown): string {
  if (typeof json !== 'object' || json === null || member(json, 'errors') !== undefined) return '';
  const keys = Object.keys(json).slice(0, 5);
  return keys.length === 0 ? '' : `JSON with ${keys.join(', ')}`;
}

function parseJson(text: string): unknown {
  try {
    return parseBoundedJson(text);
  } catch {
    return undefined;
  }
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function textOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

/** A pattern of a whole token would be too large to run, and servers repeat parts of tokens, too. */
const PIECE = 64;

/**
 * Returns patterns that find a secret in every form in which a server may repeat it: as it is, escaped in JSON (RFC 8259,
 * section 7; once or twice, also as `\u0026`), in XML and HTML, or in a URL. Each character may have any form, because
 * programs differ in which characters they escape. Letters outside ASCII may also have been decoded with the wrong charset. A
 * secret longer than 64 characters gets a pattern for each piece. Each pattern reads any text in linear time: what may match
 * in several ways, backslashes and replacement characters, is counted for a whole run of characters.
 */
export function secretPatterns(secret: string): RegExp[] {
  const characters = [...secret];
  const pieces = Math.max(1, Math.floor(characters.length / PIECE));
  return Array.from({ length: pieces }, (_, at) => {
    const end = at === pieces - 1 ? undefined : (at + 1) * PIECE;
    return new RegExp(
      runsOf(characters.slice(at * PIECE, end))
        .map(formsOfRun)
        .join(''),
      'g',
    );
  });
}

/** Splits characters so that backslashes next to each other are one run, and letters outside ASCII, too. */
function runsOf(characters: readonly string[]): string[] {
  const runs: string[] = [];
  for (const character of characters) {
    const last = runs.at(-1) ?? '';
    const joins = isWide(character) ? isWide(last) : character === '\\' && last.startsWith('\\');
    if (joins) runs[runs.length - 1] = last + character;
    else runs.push(character);
  }
  return runs;
}

const isWide = (text: string): boolean => (text.codePointAt(0) ?? 0) > 0x7f;

function formsOfRun(run: string): string {
  if (run.startsWith('\\'))
    return `(?:\\\\|u005[cC]|%(?:25)*5[cC]|&(?:amp;)*#(?:0*92|[xX]0*5[cC]);){${run.length},${MOST_ESCAPES * run.length}}`;
  if (!isWide(run)) return formsOf(run);
  const characters = [...run];
  const wrongly = `[\\ufffd?]{${characters.length},${Buffer.byteLength(run, 'utf8')}}`;
  return `(?:${characters.map(formsOf).join('')}|${wrongly})`;
}

/** Characters of `\\\\u005c`, the longest form of a backslash that two escapings make, with one to spare. */
const MOST_ESCAPES = 7;

/** No program escapes these. */
const PLAIN = /^[A-Za-z0-9_]$/;

const NAMED: Readonly<Record<string, string>> = { '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot', "'": 'apos' };
const CONTROLS: Readonly<Record<string, string>> = { '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't' };

function formsOf(character: string): string {
  if (PLAIN.test(character)) return character;
  const bytes = Buffer.from(character, 'utf8');
  const isAscii = bytes.length === 1;
  const code = character.codePointAt(0) ?? 0;
  const named = NAMED[character];
  const control = CONTROLS[character];
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
  const entities = [...(named === undefined ? [] : [named]), `#0*${code}`, `#[xX]0*${hex(code.toString(16))}`];
  const forms = [
    units.map(unit => `\\\\{1,4}u${hex(unit.toString(16).padStart(4, '0'))}`).join(''),
    ...(control === undefined ? [] : [`\\\\{1,4}${control}`]),
    `&(?:amp;)*(?:${entities.join('|')});`,
    [...bytes].map(byte => `%(?:25)*${hex(byte.toString(16).padStart(2, '0'))}`).join(''),
    ...(character === ' ' ? ['\\+'] : []),
    // Each escaping adds one backslash or three.
    `\\\\{0,3}${literal(character)}`,
    ...(isAscii ? [] : [literal(bytes.toString('latin1'))]),
  ];
  return `(?:${forms.join('|')})`;
}

function hex(digits: string): string {
  return digits.replace(/[a-f]/g, digit => `[${digit}${digit.toUpperCase()}]`);
}

function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
