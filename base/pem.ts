const BEGIN = '-----BEGIN ';
const DASHES = '-----';
const LONGEST_LABEL = 60;

/** One block between `-----BEGIN LABEL-----` and `-----END LABEL-----` (RFC 7468). */
export interface PemBlock {
  readonly label: string;
  /** With one marker or 64 characters a line, however the file writes it; undefined if the end marker is missing. */
  readonly text: string | undefined;
  /** Of its begin marker, from 1. */
  readonly line: number;
  /** True if both markers begin a line: OpenSSL, and so Node.js itself, reads no other blocks. */
  readonly isTidy: boolean;
}

/** Returns the blocks of a text, also of files that were joined without a line break: OpenSSL reads only the first of those. */
export function pemBlocks(text: string): PemBlock[] {
  const blocks: PemBlock[] = [];
  let line = 1;
  let counted = 0;
  for (let begin = text.indexOf(BEGIN); begin >= 0; ) {
    for (; counted < begin; counted += 1) if (text[counted] === '\n') line += 1;
    const next = text.indexOf(BEGIN, begin + BEGIN.length);
    const whole = text.slice(begin, next < 0 ? undefined : next);
    const label = whole.slice(BEGIN.length, whole.indexOf(DASHES, BEGIN.length));
    const isTidy = /^$|\n/.test(text.charAt(begin - 1)) && whole.includes(`\n${DASHES}END ${label}${DASHES}`);
    if (label.length <= LONGEST_LABEL) blocks.push({ label, line, isTidy, text: tidyBlock(whole, label) });
    begin = next;
  }
  return blocks;
}

/** Returns true for binary certificates and keys: a SEQUENCE with its length (ITU-T X.690). */
export function isDer(bytes: Buffer): boolean {
  return bytes[0] === 0x30 && bytes[1] !== 0;
}

/** Returns whether a block is a certificate, by the labels that OpenSSL reads. */
export function isCertificate({ label }: PemBlock): boolean {
  return /^(?:X509 |TRUSTED )?CERTIFICATE$/.test(label);
}

function tidyBlock(whole: string, label: string): string | undefined {
  const end = whole.indexOf(`${DASHES}END ${label}${DASHES}`);
  if (end < 0) return undefined;
  const base64 = whole.slice(BEGIN.length + label.length + DASHES.length, end).replace(/\s/g, '');
  const lines = Array.from({ length: Math.ceil(base64.length / 64) }, (_, at) => base64.slice(at * 64, at * 64 + 64));
  return [`${BEGIN}${label}${DASHES}`, ...lines, `${DASHES}END ${label}${DASHES}`, ''].join('\n');
}
