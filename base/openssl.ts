/** What OpenSSL reports of PEM files, by the names of its reasons in Node's error codes. The first row that fits counts. */
const REASONS: readonly (readonly [reason: RegExp, words: string])[] = [
  [/KEY_VALUES_MISMATCH/, 'the key is that of another certificate'],
  [/BAD_DECRYPT|INTERRUPTED_OR_CANCELLED|PASSWORD|PASSPHRASE/, 'the key is encrypted with a passphrase'],
  [/KEY_TOO_SMALL/, 'the key is too short to be secure'],
  [/MD_TOO_WEAK/, 'the signature is too weak to be secure'],
  [/NO_START_LINE/, 'there is no PEM block'],
  [/BAD_BASE64|BAD_END_LINE/, 'the text between its marks is not base64'],
  [/ASN1|DECODER|UNSUPPORTED/, 'its content is cut off, damaged or of another kind'],
];

/** Returns words for the reason why OpenSSL cannot read or use a certificate or key; its own text if there are none. */
export function opensslWords(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code = '', message } = error as NodeJS.ErrnoException;
  return REASONS.find(([reason]) => reason.test(code))?.[1] ?? message;
}
