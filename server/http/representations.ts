import type { ServedFile } from '../view/treeView.ts';
import { parseAcceptEncoding } from './acceptEncoding.ts';
import { namesEtag } from './preconditions.ts';
import type { RequestHead } from './requestHead.ts';

/**
 * The forms of a file that a request takes, the one to send first in front; the others are for when it cannot be had.
 * Empty if the client refuses every form there is. `compress`: whether to prefer a compressed form where the client does
 * not mind either.
 */
export function representationsFor(file: ServedFile, head: RequestHead, compress: boolean): readonly ServedFile[] {
  const accepted = parseAcceptEncoding(head.acceptEncoding);
  const weightOf = ({ coding }: ServedFile): number => (coding === undefined ? 0 : accepted.of(coding));
  // They come smallest first, and sort keeps that order among equals.
  const compressed = file.variants.filter(variant => weightOf(variant) > 0).sort((a, b) => weightOf(b) - weightOf(a));
  const [best] = compressed;
  if (accepted.identity === 0) return compressed;
  if (best === undefined) return [file];
  const all =
    compress && head.range === undefined && weightOf(best) >= (accepted.identity ?? 0)
      ? [...compressed, file]
      : [file, ...compressed];
  // Whoever holds one of them should learn that it is still good, whichever would be sent today.
  const held = head.ifNoneMatch ?? head.ifMatch;
  const known = held === undefined ? undefined : all.find(({ sha256 }) => namesEtag(held, `"${sha256}"`, 'weak'));
  return known === undefined ? all : [known, ...all.filter(one => one !== known)];
}
