import { Refusal, type RefusalDetails } from '../base/refusal.ts';

/** Another process listens there already. */
export class ServerPortTaken extends Refusal {
  readonly code = 'SERVER_PORT_TAKEN';
}

/** The host or the port cannot be listened on: no such address here, or not allowed. */
export class ServerAddressUnusable extends Refusal {
  readonly code = 'SERVER_ADDRESS_UNUSABLE';
}

/** The files for TLS are missing, unreadable, or do not fit together. */
export class ServerTlsUnusable extends Refusal {
  readonly code = 'SERVER_TLS_UNUSABLE';
}

/** An option that no server can work with. */
export class ServerOptionInvalid extends Refusal {
  readonly code = 'OPTION_INVALID';
}

/** Turns what listen() failed with into what a user can act on; other errors stay as they are. */
export function asListenRefusal(error: unknown, host: string, port: number): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const subject = `${host}:${port}`;
  if (code === 'EADDRINUSE')
    return new ServerPortTaken(`Another process listens on ${subject} already`, {
      subject,
      hint: 'End that process, or choose another port with --port (0 takes any free one).',
      cause: error,
    });
  if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    const details: RefusalDetails = {
      subject,
      found: code,
      hint:
        code === 'EACCES'
          ? 'Ports below 1024 need a privilege; choose a higher one with --port.'
          : 'Choose an address of this machine with --host (0.0.0.0 is all of them).',
      cause: error,
    };
    return new ServerAddressUnusable(`Cannot listen on ${subject}`, details);
  }
  return error;
}
