import type { Descriptor } from '../../image.ts';
import { MOST_REFERRERS, parseReferrers } from '../../images/referrers.ts';
import type { RegistryClient, RegistryRequest } from '../client/registryClient.ts';
import type { Reply } from '../http/reply.ts';
import { readPages } from './pages.ts';

const INDEX = /^application\/vnd\.oci\.image\.index\.v1\+json\b/i;
/** Statuses of registries without the API for an unknown path; the specification names 404. */
const NO_SUCH_API = [400, 404, 405, 406, 501];

/**
 * Reads all pages of `GET …/referrers/DIGEST` (distribution-spec 1.1, Listing Referrers), at most 5000 entries and 16 MiB.
 * `first` requests the first page. Returns undefined if the registry has no such API: then the tag schema applies.
 * @throws this room's refusals, or the signal's reason
 */
export async function readReferrers(
  client: RegistryClient,
  first: RegistryRequest,
  signal: AbortSignal,
): Promise<Descriptor[] | undefined> {
  const { subject } = first.purpose;
  const list = {
    items: 'referrers',
    of: subject,
    name: 'list of referrers',
    mostItems: MOST_REFERRERS,
    mostBytes: 4 * 1024 * 1024,
    mostBytesOfAll: 16 * 1024 * 1024,
    // Registries without the API may answer any path with 200 and a page of their own.
    isPage: (reply: Reply): boolean => reply.status === 200 && INDEX.test(typeOf(reply)),
    parse: (body: Buffer, reply: Reply) => parseReferrers(body, typeOf(reply), subject),
  };
  return readPages(client, { ...first, accept: NO_SUCH_API }, list, signal);
}

function typeOf({ headers }: Reply): string {
  return headers['content-type']?.toString() ?? '';
}
