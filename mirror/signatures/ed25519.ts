import { type KeyObject, verify } from 'node:crypto';
import { ed25519ph } from '@noble/curves/ed25519';

/**
 * Ed25519 (RFC 8032, 5.1) in the prehashed form that cosign makes by default, which Node's crypto does not have, or in
 * the plain one. A file of its own, since hardly anybody has such a key and everybody else need not load the curve.
 */
export function isSignedByEd25519(key: KeyObject, signed: Buffer, signature: Buffer): boolean {
  try {
    // The last 32 bytes of a SubjectPublicKeyInfo are the key (RFC 8410, 4).
    const raw = key.export({ type: 'spki', format: 'der' }).subarray(-32);
    return verify(null, signed, key, signature) || ed25519ph.verify(signature, signed, raw, { zip215: false });
  } catch {
    return false; // what has not even the length of a signature
  }
}
