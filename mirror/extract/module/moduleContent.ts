/** The number of first bytes that nameContent and isTar need. */
export const SNIFF_BYTES = 512;

/**
 * Returns what a file is, by its first bytes, for error messages.
 * @returns a noun phrase, e.g. `an HTML page`, `gzip data`, `something unknown (starts 7b 22 61 62)`
 */
export function nameContent(head: Buffer): string {
  if (head.length === 0) return 'an empty file';
  if (isWasm(head)) return nameWasm(head);
  for (const [magic, name] of MAGICS) if (head.subarray(0, magic.length).equals(magic)) return name;
  if (head.every(byte => byte === 0)) return 'zero bytes';
  if (isTar(head)) return 'a tar archive';
  const text = head
    .toString('latin1')
    .replace(/^\xef\xbb\xbf/, '')
    .trimStart()
    .toLowerCase();
  for (const [pattern, name] of TEXTS) if (pattern.test(text)) return name;
  const start = head
    .subarray(0, 4)
    .toString('hex')
    .replace(/..(?=.)/g, '$& ');
  return `something unknown (starts ${start})`;
}

/** True if the bytes start with Wasm's magic number, of a module or of a component. */
export function isWasm(head: Buffer): boolean {
  return head.subarray(0, 4).equals(WASM);
}

export function isGzip(head: Buffer): boolean {
  return head.length >= 2 && head[0] === 0x1f && head[1] === 0x8b;
}

/** True for a zstd frame or a skippable frame (RFC 8878, 3.1). */
export function isZstd(head: Buffer): boolean {
  if (head.length < 4) return false;
  const magic = head.readUInt32LE(0);
  return magic === 0xfd2fb528 || (magic & 0xfffffff0) >>> 0 === 0x184d2a50;
}

/** True if the first block is a tar header (its checksum is right) or the zero block of an empty archive. */
export function isTar(head: Buffer): boolean {
  if (head.length < 512) return false;
  const block = head.subarray(0, 512);
  const checksum = Number.parseInt(block.toString('latin1', 148, 156).replace(/\0[\s\S]*/, ''), 8);
  let sum = 8 * 0x20;
  for (let at = 0; at < 512; at++) if (at < 148 || at >= 156) sum += block[at] ?? 0;
  return sum === checksum || (sum === 8 * 0x20 && block.every(byte => byte === 0));
}

const WASM = Buffer.from('\0asm');

// Since components exist, the version field is a 16-bit version and a 16-bit layer (component-model, Binary.md).
function nameWasm(head: Buffer): string {
  if (head.length < 8) return 'a truncated Wasm file';
  const version = head.readUInt16LE(4);
  const layer = head.readUInt16LE(6);
  if (layer === 1) return 'a Wasm component';
  return version === 1 && layer === 0 ? 'a Wasm module' : `a Wasm file of version ${head.readUInt32LE(4)}`;
}

const MAGICS: readonly (readonly [Buffer, string])[] = [
  [Buffer.from('1f8b', 'hex'), 'gzip data'],
  [Buffer.from('28b52ffd', 'hex'), 'zstd data'],
  [Buffer.from('fd377a585a00', 'hex'), 'xz data'],
  [Buffer.from('BZh'), 'bzip2 data'],
  [Buffer.from('7f454c46', 'hex'), 'an ELF binary'],
  [Buffer.from('feedface', 'hex'), 'a Mach-O binary'],
  [Buffer.from('feedfacf', 'hex'), 'a Mach-O binary'],
  [Buffer.from('cefaedfe', 'hex'), 'a Mach-O binary'],
  [Buffer.from('cffaedfe', 'hex'), 'a Mach-O binary'],
  [Buffer.from('cafebabe', 'hex'), 'a Mach-O binary or a Java class'],
  [Buffer.from('PK\x03\x04'), 'a zip archive'],
  [Buffer.from('PK\x05\x06'), 'an empty zip archive'],
  [Buffer.from('MZ'), 'a Windows program'],
  [Buffer.from('%PDF'), 'a PDF'],
  [Buffer.from('89504e470d0a1a0a', 'hex'), 'a PNG image'],
  [Buffer.from('!<arch>\n'), 'an ar archive'],
  [Buffer.from('070701'), 'a cpio archive'],
  [Buffer.from('070702'), 'a cpio archive'],
  [Buffer.from('070707'), 'a cpio archive'],
  [Buffer.from('377abcaf271c', 'hex'), 'a 7z archive'],
  [Buffer.from('Rar!'), 'a rar archive'],
  [Buffer.from('BC\xc0\xde', 'latin1'), 'LLVM bitcode'],
];

const TEXTS: readonly (readonly [RegExp, string])[] = [
  [/^(?:<!doctype html|<html|<head|<body|<!--[\s\S]*<html)/, 'an HTML page'],
  [/^<\?xml|^<error|^<[a-z]+[\s>]/, 'an XML document'],
  [/^version https:\/\/git-lfs/, 'a Git LFS pointer'],
  [/^\((?:module|component)\b/, 'Wasm text (WAT)'],
  [/^[{[]\s*["{[\]}]/, 'a JSON document'],
  [/^#!/, 'a script'],
  [/^[\t\r\n\x20-\x7e\x80-\xff]+$/, 'text'],
];
