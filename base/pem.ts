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
    if (label.length <= LONGEST_LABEL) blocks.push({ label, line, text: tidyBlock(whole, label) });
    begin = next;
  }
  return blocks;
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
