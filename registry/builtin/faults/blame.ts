import type { RegistryRefusalDetails } from '../../errors.ts';
import { type NamedBy, type Reply, requestOf } from '../http/reply.ts';

const VERBS: Partial<Readonly<Record<NamedBy['role'], string>>> = {
  'token server': 'sends clients',
  'upload host': 'sends uploads',
};

/** What leads to a wrong address of a host. */
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
