import type { Coding } from '../../tree/version/codings.ts';
import type { ServedFile } from '../view/treeView.ts';
import { namesEtag } from './preconditions.ts';
import type { RequestHead } from './requestHead.ts';

/** The weights (0 to 1) that a client gives to codings. */
interface AcceptedCodings {
  readonly of: (coding: Coding) => number;
  /** Undefined: acceptable, but not mentioned. 0: refused. */
  readonly identity: number | undefined;
}

const MEMBER = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[\t ]*;[\t ]*[qQ]=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?$/;

/**
 * Returns the forms of a file that a request accepts, the best first; the others are for the case that the best is damaged.
 * Returns none if the client refuses every form. `compress`: whether to prefer a compressed form if the client has no
 * preference.
 */
export function acceptableForms(file: ServedFile, head: RequestHead, compress: boolean): readonly ServedFile[] {
  const accepted = parseAcceptEncoding(head.acceptEncoding);
  const weightOf = ({ coding }: ServedFile): number => (coding === undefined ? 0 : accepted.of(coding));
  // Variants come smallest first, and sort keeps that order among equal weights.
  const compressed = file.variants.filter(variant => weightOf(variant) > 0).sort((a, b) => weightOf(b) - weightOf(a));
  const [best] = compressed;
  if (accepted.identity === 0) return compressed;
  if (best === undefined) return [file];
  const forms =
    compress && head.range === undefined && weightOf(best) >= (accepted.identity ?? 0)
      ? [...compressed, file]
      : [file, ...compressed];
  // A client that has one of the forms gets that one, so that it is answered 304 whatever the server prefers now.
  const etags = head.ifNoneMatch ?? head.ifMatch;
  const known = etags === undefined ? undefined : forms.find(({ sha256 }) => namesEtag(etags, `"${sha256}"`, 'weak'));
  return known === undefined ? forms : [known, ...forms.filter(form => form !== known)];
}

/**
 * RFC 9110, section 12.5.3. Without the field a client accepts any coding; uncompressed bytes are the safe choice. Members
 * that do not match the grammar are ignored; of two members for one coding the first counts.
 */
function parseAcceptEncoding(field: string | undefined): AcceptedCodings {
  if (field === undefined) return { of: () => 0, identity: undefined };
  const weights = new Map<string, number>();
  for (const member of field.split(',')) {
    const match = MEMBER.exec(member.trim());
    const name = match?.[1]?.toLowerCase();
    if (name !== undefined && !weights.has(name)) weights.set(name, Number(match?.[2] ?? 1));
  }
  const others = weights.get('*');
  return {
    // Section 8.4.1.3: "x-gzip" is another name of gzip.
    of: coding => weights.get(coding) ?? (coding === 'gzip' ? weights.get('x-gzip') : undefined) ?? others ?? 0,
    identity: weights.get('identity') ?? (others === 0 ? 0 : undefined),
  };
}
