import { createHash } from 'node:crypto';
import type { Digest } from '../base/digest.ts';
import { LayoutInvalid, layoutInvalid } from './errors.ts';
import type { Layout } from './layout.ts';

/** `oci-layout` (image-spec, image-layout.md, oci-layout file). @throws LayoutInvalid for another version */
export function requireVersion(path: string, bytes: Buffer): void {
  let version: unknown;
  try {
    version = (JSON.parse(bytes.toString('utf8')) as { imageLayoutVersion?: unknown } | null)?.imageLayoutVersion;
  } catch {
    version = undefined;
  }
  if (version !== '1.0.0')
    throw layoutInvalid(path, `imageLayoutVersion ${JSON.stringify(version) ?? 'missing'} in oci-layout`, '"1.0.0"');
}

/** Reads a whole blob and compares its bytes with its name. @throws as Layout.read */
export async function readVerified(layout: Layout, digest: Digest, limitBytes: number): Promise<Buffer> {
  const size = (await layout.sizeOf(digest)) ?? 0;
  if (size > limitBytes)
    throw new LayoutInvalid(`The blob ${digest} of ${layout.path} is too large`, {
      subject: digest,
      expected: `a document of at most ${limitBytes} bytes`,
      found: `${size} bytes`,
      hint: 'Make the bundle again.',
    });
  const chunks: Buffer[] = [];
  for await (const chunk of await layout.open(digest)) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  const [algorithm = '', hex] = digest.split(':');
  if (createHash(algorithm).update(bytes).digest('hex') !== hex) throw await layout.blame(digest);
  return bytes;
}
