import { parseBoundedJson } from '../../../base/boundedJson.ts';
import { RegistryProtocol } from '../../errors.ts';
import { isTag } from '../../reference.ts';
import type { RegistryClient, RegistryRequest } from '../client/registryClient.ts';
import { looksLikeHtml } from '../faults/errorBody.ts';
import { webPageError } from '../faults/replyErrors.ts';
import { type Reply, requestOf } from '../http/reply.ts';
import { readPages } from './pages.ts';

/**
 * Reads all pages of a tag list and returns each valid tag once in the registry's order (distribution-spec, Listing tags): at
 * most 100 000 in 32 MiB. `first` requests the first page. @throws this room's refusals, or the signal's reason
 */
export async function readTags(
  client: RegistryClient,
  first: RegistryRequest,
  signal: AbortSignal,
  retries?: number,
): Promise<string[]> {
  const { subject, repository } = first.purpose;
  const list = {
    items: 'tags',
    of: repository,
    name: 'tag list',
    mostItems: 100_000,
    mostBytes: 8 * 1024 * 1024,
    // About ten times the tag lists of the largest known repositories.
    mostBytesOfAll: 32 * 1024 * 1024,
    parse: (body: Buffer, reply: Reply): string[] => {
      const text = body.toString('utf8');
      if (looksLikeHtml(text, reply.headers['content-type']?.toString())) throw webPageError(reply, subject);
      const tags = tagsOf(text);
      if (tags !== undefined) return tags;
      throw new RegistryProtocol(`The tag list of ${repository} at ${reply.request.url.host} cannot be read`, {
        subject,
        status: reply.status,
        request: requestOf(reply),
        expected: '{"name": …, "tags": […]}',
        temporary: true,
        retryLimit: 2,
        hint: 'Check that the host is an OCI registry.',
      });
    },
  };
  return [...new Set(await readPages(client, first, list, signal, retries))];
}

function tagsOf(text: string): string[] | undefined {
  try {
    const json = parseBoundedJson(text) as { readonly tags?: unknown } | null;
    // Some registries send null for a repository without tags.
    if (json?.tags === null) return [];
    if (!Array.isArray(json?.tags)) return undefined;
    return json.tags.filter((tag: unknown): tag is string => typeof tag === 'string' && isTag(tag));
  } catch {
    return undefined;
  }
}
