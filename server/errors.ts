import { errno } from '../base/errno.ts';
import { Refusal } from '../base/refusal.ts';

/** Another process listens on the port. */
export class ServerPortTaken extends Refusal {
  readonly code = 'SERVER_PORT_TAKEN';
}

/** The server cannot listen on the address: this machine does not have it, or the user may not use the port. */
export class ServerAddressUnusable extends Refusal {
  readonly code = 'SERVER_ADDRESS_UNUSABLE';
}

/** The files for TLS are missing or unreadable, or certificate and key do not match. */
export class ServerTlsUnusable extends Refusal {
  readonly code = 'SERVER_TLS_UNUSABLE';
}

/** An option has a value that the server cannot work with. */
export class ServerOptionInvalid extends Refusal {
  readonly code = 'OPTION_INVALID';
}

/** Returns the refusal for an error of listen(); other errors are returned unchanged. */
export function listenError(error: unknown, host: string, port: number): unknown {
  const code = errno(error);
  const subject = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  if (code === 'EADDRINUSE')
    return new ServerPortTaken(`Another process already listens on ${subject}`, {
      subject,
      hint: 'End that process, or choose another port with --port (0 takes any free one).',
      cause: error,
    });
  if (
    code !== 'EACCES' &&
    code !== 'EADDRNOTAVAIL' &&
    code !== 'EAFNOSUPPORT' &&
    code !== 'ENOTFOUND' &&
    code !== 'EAI_AGAIN'
  )
    return error;
  return new ServerAddressUnusable(`Cannot listen on ${subject}`, {
    subject,
    found: code,
    hint:
      code === 'EACCES'
        ? 'Ports below 1024 need a privilege; choose a higher one with --port.'
        : 'Choose an address of this machine with --host (:: is all of them, IPv6 and IPv4).',
    cause: error,
  });
}
