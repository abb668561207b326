/** As much of DER (X.690) as a certificate needs. */
export function tlv(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const octetsOfLength =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...octetsOfLength]), content]);
}

export function sequence(...members: readonly Buffer[]): Buffer {
  return tlv(0x30, Buffer.concat(members));
}

export function set(...members: readonly Buffer[]): Buffer {
  return tlv(0x31, Buffer.concat(members));
}

/** The context-specific constructed tag `[number]`. */
export function explicit(number: number, content: Buffer): Buffer {
  return tlv(0xa0 + number, content);
}

/** Big-endian two's complement, as given. */
export function integer(bytes: Buffer): Buffer {
  return tlv(0x02, bytes);
}

export function bits(bytes: Buffer, unusedBits: number): Buffer {
  return tlv(0x03, Buffer.concat([Buffer.from([unusedBits]), bytes]));
}

export function octets(bytes: Buffer): Buffer {
  return tlv(0x04, bytes);
}

export function utf8(text: string): Buffer {
  return tlv(0x0c, Buffer.from(text));
}

export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  return tlv(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

/** UTCTime until 2049, GeneralizedTime from 2050 on (RFC 5280, 4.1.2.5). */
export function time(moment: Date): Buffer {
  const digits = `${moment.toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`;
  return moment.getUTCFullYear() < 2050 ? tlv(0x17, Buffer.from(digits.slice(2))) : tlv(0x18, Buffer.from(digits));
}

function base128(value: number): number[] {
  const groups = [value & 0x7f];
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) groups.unshift((rest & 0x7f) | 0x80);
  return groups;
}
