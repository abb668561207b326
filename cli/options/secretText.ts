/** Returns the text of a secret without the byte order mark and the line end that editors, `echo` and PowerShell add. */
export function tidySecret(text: string): string {
  return text.replace(/^\ufeff/, '').replace(/\r?\n$/, '');
}

/** Returns true for UTF-16, in which PowerShell writes files and some pipes: with its byte order mark, or with zero bytes. */
export function isUtf16(bytes: Buffer): boolean {
  const mark = bytes.subarray(0, 2).toString('hex');
  return mark === 'fffe' || mark === 'feff' || bytes.includes(0);
}
