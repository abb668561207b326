import type { NamedBy } from '../http/reply.ts';

/** Returns the message of a fault of `host`, with the registry that named the host if it was not the user. */
export function blamed(by: NamedBy | undefined, host: string, message: string): string {
  if (by === undefined) return message;
  const verb = by.role === 'token server' ? 'sends clients' : 'redirects';
  return `${by.registry} ${verb} to the ${by.role} ${host}, which failed: ${message}`;
}

/** Returns who can fix a fault of a host: the hint itself for a host that the user named. */
export function fixedBy(by: NamedBy | undefined, host: string, hint: string): string {
  if (by === undefined) return hint;
  const wrong =
    by.role === 'token server'
      ? 'the realm of its challenge, which follows from an external URL or ROOT_URL in its configuration'
      : 'its redirects, which follow from the configuration of its storage';
  return `${hint} ${by.registry} named ${host}: if that address is wrong, the operator of ${by.registry} must correct ${wrong}.`;
}
