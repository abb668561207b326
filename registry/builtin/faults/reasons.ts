import { DialFailed } from '../../hosts/dial.ts';

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
