/** Returns true for UTF-16, in which PowerShell writes files and some pipes: with its byte order mark, or with zero bytes. */
export function isUtf16(bytes: Buffer): boolean {
  const mark = bytes.subarray(0, 2).toString('hex');
  return mark === 'fffe' || mark === 'feff' || bytes.includes(0);
}
