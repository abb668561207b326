import type { Coding } from '../../tree/version/codings.ts';

/** What a client takes, by weight (0 to 1); undefined where it said nothing. */
export interface AcceptedCodings {
  readonly of: (coding: Coding) => number;
  /** Undefined: taken, but nobody asked for it. 0: refused. */
  readonly identity: number | undefined;
}

const MEMBER = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[\t ]*;[\t ]*[qQ]=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?$/;
const NOTHING: AcceptedCodings = { of: () => 0, identity: undefined };

/**
 * RFC 9110, 12.5.3. Without the field a client takes anything, of which the plain bytes are the safe choice. A member that
 * the grammar does not have is left out; of two members for one coding the first counts.
 */
export function parseAcceptEncoding(field: string | undefined): AcceptedCodings {
  if (field === undefined) return NOTHING;
  const weights = new Map<string, number>();
  for (const member of field.split(',')) {
    const match = MEMBER.exec(member.trim());
    const name = match?.[1]?.toLowerCase();
    if (name !== undefined && !weights.has(name)) weights.set(name, Number(match?.[2] ?? 1));
  }
  const others = weights.get('*');
  return {
    // 8.4.1.3: "x-gzip" is another name of gzip.
    of: coding => weights.get(coding) ?? (coding === 'gzip' ? weights.get('x-gzip') : undefined) ?? others ?? 0,
    identity: weights.get('identity') ?? (others === 0 ? 0 : undefined),
  };
}
