import {
  RegistryNotFound,
  RegistryProtocol,
  type RegistryRefusal,
  type RegistryRefusalDetails,
  RegistryUnavailable,
} from '../../errors.ts';
import type { Reply } from '../http/reply.ts';
import { blamed, fixedBy, replyFault } from './blame.ts';

/** RFC 4918, 11.5: the server has no room for what was sent. Unlike other 5xx it does not pass within a run. */
export const INSUFFICIENT_STORAGE = 507;

/** What a status means in the reply to an upload or to the PUT of a manifest: the message after the host, and the hint. */
const MEANINGS: Readonly<Record<number, readonly [string, string]>> = {
  405: [
    'takes no uploads',
    'It is probably read-only, as a pull-through cache or "plugin-mirror serve" is: push to the registry behind it.',
  ],
  409: [
    'refused to store the image',
    'Its rules forbid it, for example because a tag may not be replaced once it is there (immutable tags): see the settings of the repository or project.',
  ],
  411: ['wants the length of each upload in advance', 'A proxy in front of the registry removed it: see its settings.'],
  413: [
    'refused an upload because of its size',
    'A proxy in front of the registry limits the size of a request (nginx: client_max_body_size): its operator must allow at least 256 KiB, better 8 MiB, or push to the registry past the proxy.',
  ],
  [INSUFFICIENT_STORAGE]: [
    'has no room for the image',
    'Remove images there, or let its operator raise the quota or add storage.',
  ],
};

const OTHER: readonly [string, string] = [
  'refused to store the image',
  'Push again: what is missing is uploaded. If it fails again, the registry may accept only certain media types, or only signed images: its operator knows its rules.',
];

/** Returns the error for a final status in the reply to a request that pushes. */
export function refusedWriteError(reply: Reply, details: Omit<RegistryRefusalDetails, 'hint'>): RegistryRefusal {
  const { status } = reply;
  const [what, hint] = MEANINGS[status] ?? OTHER;
  if (status === INSUFFICIENT_STORAGE) return new RegistryUnavailable(...replyFault(reply, what, hint, details));
  return new RegistryProtocol(...replyFault(reply, `${what} (status ${status})`, hint, details));
}

/** Returns the error for a repository that does not exist and that a push does not create. */
export function noRepositoryToPushError(
  reply: Reply,
  repository: string,
  details: Omit<RegistryRefusalDetails, 'hint'>,
): RegistryNotFound {
  const { namedBy, url } = reply.request;
  const hint =
    'Create the project or the repository there first: some registries do not create it on a push. If it exists, it may be hidden until you log in.';
  return new RegistryNotFound(blamed(namedBy, url.host, `${url.host} has no ${repository} to push to`), {
    ...details,
    missing: 'repository',
    hint: fixedBy(namedBy, url.host, hint),
  });
}
