import type { RegistryRefusalDetails } from '../../errors.ts';
import { DialFailed } from '../../hosts/dial.ts';
import { type NamedBy, type Reply, requestOf } from '../http/reply.ts';

const VERBS: Partial<Readonly<Record<NamedBy['role'], string>>> = {
  'token server': 'sends clients',
  'upload host': 'sends uploads',
};

/** The setting from which a wrong address of a host follows. */
const ORIGINS: Readonly<Record<NamedBy['role'], string>> = {
  'token server': 'the realm of its challenge, which follows from an external URL or ROOT_URL in its configuration',
  'upload host': 'the Location of its uploads, which follows from an external URL in its configuration',
  'storage host': 'its redirects, which follow from the configuration of its storage',
  host: 'its redirects, which follow from the configuration of its storage',
};

/** Returns the message of a fault of `host`, with the servers that named the host if it was not the user. */
export function blamed(by: NamedBy | undefined, host: string, message: string): string {
  if (by === undefined) return message;
  const { role, registry, redirectedBy } = by;
  const verb = VERBS[role] ?? 'redirects';
  return redirectedBy === undefined
    ? `${registry} ${verb} to the ${role} ${host}, which failed: ${message}`
    : `The ${role} ${redirectedBy}, to which ${registry} ${verb}, redirects to ${host}, which failed: ${message}`;
}

/** Returns who can fix a fault of a host: the hint itself for a host that the user named. */
export function fixedBy(by: NamedBy | undefined, host: string, hint: string): string {
  if (by === undefined) return hint;
  const { role, registry, redirectedBy } = by;
  return redirectedBy === undefined
    ? `${hint} ${registry} named ${host}: if that address is wrong, the operator of ${registry} must correct ${ORIGINS[role]}.`
    : `${hint} ${redirectedBy} named ${host}: if that address is wrong, the operator of ${redirectedBy} must correct its redirects.`;
}

/** Returns the arguments of an error for what the host of a reply did, as the rest of a sentence after its name. */
export function replyFault(
  reply: Pick<Reply, 'request'>,
  what: string,
  hint: string,
  details: Omit<RegistryRefusalDetails, 'hint'>,
): [message: string, details: RegistryRefusalDetails] {
  const { url, namedBy } = reply.request;
  return [
    blamed(namedBy, url.host, `${url.host} ${what}`),
    { subject: url.host, request: requestOf(reply), ...details, hint: fixedBy(namedBy, url.host, hint) },
  ];
}

/** Returns what became of each address of a host that has several; undefined for any other error. */
export function addressesIn(error: unknown): string | undefined {
  if (!(error instanceof DialFailed) || error.attempts.length < 2) return undefined;
  return error.attempts.map(({ address, code }) => `${address}: ${wordsFor(code) ?? code}`).join('; ');
}

/** Returns words for a code of Node, undici or llhttp, to follow "The connection broke: "; undefined for an unknown one. */
export function wordsFor(code: string): string | undefined {
  switch (code) {
    case 'ECONNREFUSED':
      return 'the connection was refused';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'it was reset';
    case 'UND_ERR_SOCKET':
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
    case 'ERR_SSL_UNEXPECTED_EOF_WHILE_READING':
      return 'it was closed before the answer was complete';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ENETDOWN':
    case 'EADDRNOTAVAIL':
      return 'there is no route to it';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'its name is unknown';
    case 'ETIMEDOUT':
      return 'it did not answer in time';
    default:
      return code.startsWith('HPE_') ? 'it sent a reply that is not HTTP' : undefined;
  }
}

/** For parser errors of llhttp that undici has no code for. */
const NAMELESS_PARSER_FAULT = 'HPE_UNKNOWN';

/** Returns the code and the text of what undici, node:net or node:tls threw, which may be wrapped. */
export function reasonOf(error: unknown): { readonly code: string; readonly message: string } {
  if (!(error instanceof Error)) return { code: '', message: String(error) };
  const { code, message, cause } = error as NodeJS.ErrnoException;
  if (code === undefined && cause instanceof Error) return reasonOf(cause);
  if (code === undefined && error.name === 'HTTPParserError') return { code: NAMELESS_PARSER_FAULT, message };
  return { code: code ?? '', message: message || error.name };
}
