import { createPublicKey } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Node } from 'jsonc-parser';
import { globMatcher, SelectionInvalid } from '../../base/globs.ts';
import { opensslWords } from '../../base/openssl.ts';
import { formatPath, type Path, quoted } from '../json/problem.ts';
import { itemsOf, memberOf, membersOf } from '../json/strictJson.ts';
import { type KeylessPolicy, type PolicyFile, pemBlocksOf, type SignaturePolicy } from '../signatures/policy.ts';
import { type Fault, isFault } from './imageText.ts';
import type { Reading } from './versions.ts';
import type { WantedVersion } from './wanted.ts';

const mostKeyBytes = 64 * 1024;
const mostRootBytes = 4 * 1024 * 1024;
const eitherOr = 'one of "key", "identity", "identityPattern" and "unsigned"';

/** One item of `signatures`. `policy` is absent if the images need no signature. */
interface Rule {
  readonly matches: (image: string) => boolean;
  readonly policy?: SignaturePolicy;
}

/**
 * Returns the versions with their policies: for every image the first policy whose `images` match its HOST/REPOSITORY. An
 * image that no policy matches is a problem, so that none stays unsigned by accident. Local files are not checked.
 */
export async function readSignatures(
  node: Node | undefined,
  versions: readonly WantedVersion[],
  reading: Reading,
): Promise<readonly WantedVersion[]> {
  if (node === undefined) return versions;
  const list = node.type === 'array';
  if (list && itemsOf(node).length === 0) return versions; // reported by the schema
  const written = list
    ? itemsOf(node).map((item, index) => ({ item, path: ['signatures', index] }))
    : [{ item: node, path: ['signatures'] }];
  let catchAll: Path | undefined;
  const rules: Rule[] = [];
  for (const { item, path } of written) {
    await reading.rest();
    if (catchAll !== undefined)
      reading.report(path, item, {
        found: `a policy after ${formatPath(catchAll)}, which has no "images" and so applies to all images`,
        expected: 'the policy without "images" at the end',
      });
    if (memberOf(item, 'images') === undefined) catchAll ??= path;
    rules.push(readRule(item, path, reading));
  }
  const uncovered = new Set<string>();
  const signed: WantedVersion[] = [];
  for (const version of versions) {
    await reading.rest();
    if (version.source.kind === 'file') {
      signed.push(version);
      continue;
    }
    const image = `${version.source.reference.registry}/${version.source.reference.repository}`;
    const rule = rules.find(each => each.matches(image));
    if (rule === undefined && !uncovered.has(image)) {
      uncovered.add(image);
      reading.report(['signatures'], node, {
        found: `no policy for the image ${quoted(image)} of ${version.path}`,
        expected: 'a policy for every image',
        hint: 'End the list with a policy without "images", or with {"unsigned": true} if the other images need no signature.',
      });
    }
    signed.push(rule?.policy === undefined ? version : { ...version, signatures: rule.policy });
  }
  return signed;
}

function readRule(node: Node, path: Path, reading: Reading): Rule {
  const images = memberOf(node, 'images')?.node;
  const matches = images === undefined ? () => true : readImages(images, [...path, 'images'], reading);
  const policy = node.type === 'object' ? readPolicy(node, path, reading) : undefined;
  return { matches, ...(policy === undefined ? {} : { policy }) };
}

function readImages(node: Node, path: Path, reading: Reading): Rule['matches'] {
  try {
    const matchers = textsOf(node).map(globMatcher);
    return image => matchers.some(matches => matches(image));
  } catch (error) {
    if (!(error instanceof SelectionInvalid)) throw error;
    const { subject = '', expected = '', hint } = error;
    reading.report(path, node, { found: quoted(subject), expected, hint });
    return () => true;
  }
}

function readPolicy(node: Node, path: Path, reading: Reading): SignaturePolicy | undefined {
  const report = (key: string, fault: Fault): undefined => {
    const member = memberOf(node, key);
    reading.report(member === undefined ? path : [...path, key], member?.node ?? node, fault);
  };
  const has = (key: string): boolean => memberOf(node, key) !== undefined;
  const kinds = membersOf(node).filter(({ key }) => ['key', 'identity', 'identityPattern', 'unsigned'].includes(key));
  const [kind, second] = kinds;
  if (kind === undefined) return report('', { found: 'no signer', expected: eitherOr });
  if (second !== undefined)
    return report(second.key, { found: `"${second.key}" together with "${kind.key}"`, expected: eitherOr });
  const keyless = kind.key === 'identity' || kind.key === 'identityPattern';
  if (has('issuer') && !keyless)
    report('issuer', { found: `"issuer" together with "${kind.key}"`, expected: '"issuer" with "identity" only' });
  if (has('trustedRoot') && kind.key === 'unsigned')
    report('trustedRoot', {
      found: '"trustedRoot" together with "unsigned"',
      expected: 'only "images" with "unsigned"',
    });
  if (kind.key === 'unsigned') return undefined;
  const at = formatPath(path);
  const file = (
    key: string,
    mostBytes: number,
    faultOf: (text: string) => Fault | undefined,
  ): PolicyFile | undefined => {
    const written = textOf(memberOf(node, key)?.node);
    if (written === undefined) return undefined;
    const read = readPolicyFile(written, reading.locate(written), mostBytes);
    const fault = 'text' in read ? faultOf(read.text) : read;
    if (fault !== undefined) return report(key, fault);
    return 'text' in read ? read : undefined;
  };
  const trustedRoot = file('trustedRoot', mostRootBytes, rootFault);
  if (kind.key === 'key') {
    const key = file('key', mostKeyBytes, keyFault);
    if (key === undefined || (has('trustedRoot') && trustedRoot === undefined)) return undefined;
    return { kind: 'key', path: at, key, ...(trustedRoot === undefined ? {} : { trustedRoot }) };
  }
  for (const [key, expected] of [
    ['issuer', 'the OIDC issuer that confirmed it, such as "https://token.actions.githubusercontent.com"'],
    ['trustedRoot', 'the path of a Sigstore trusted_root.json: there is no default, and none is downloaded'],
  ] as const)
    if (!has(key)) report(kind.key, { found: `"${kind.key}" without "${key}"`, expected });
  const identity = readIdentity(kind.key, textOf(kind.node));
  if (identity !== undefined && isFault(identity)) return report(kind.key, identity);
  const issuer = textOf(memberOf(node, 'issuer')?.node);
  if (identity === undefined || issuer === undefined || trustedRoot === undefined) return undefined;
  return { kind: 'keyless', path: at, identity, issuer, trustedRoot };
}

function readIdentity(key: string, text: string | undefined): KeylessPolicy['identity'] | Fault | undefined {
  if (text === undefined) return undefined;
  if (key === 'identity') return { exact: text };
  try {
    new RegExp(text);
    return { pattern: text };
  } catch (error) {
    const found = `${quoted(text)}: ${error instanceof Error ? error.message : String(error)}`;
    return { found, expected: 'a regular expression for the whole identity' };
  }
}

function readPolicyFile(written: string, path: string, mostBytes: number): PolicyFile | Fault {
  const fault = (what: string): Fault => ({
    found: `${quoted(written)}, ${what}`,
    expected: 'a file, its path relative to the folder of the manifest',
    hint: `Looked for ${quoted(path)}.`,
  });
  try {
    const { size } = statSync(path);
    if (!statSync(path).isFile()) return fault('which is not a file');
    if (size > mostBytes) return fault(`which has ${size} bytes, more than ${mostBytes}`);
    return { written, text: readFileSync(path, 'utf8') };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    return fault(code === 'ENOENT' || code === 'ENOTDIR' ? 'which does not exist' : 'which cannot be read');
  }
}

const publicKeys =
  'a public key in PEM: ECDSA (P-256, P-384, P-521), RSA of 2048 bits or more, or Ed25519 (plain signatures only)';

/** Every key of the file must be usable: images signed with a skipped key would be refused. */
function keyFault(text: string): Fault | undefined {
  const blocks = pemBlocksOf(text);
  for (const [index, block] of blocks.entries()) {
    const fault = blockFault(block);
    if (fault !== undefined)
      return blocks.length === 1 ? fault : { ...fault, found: `${fault.found}, as block ${index + 1} of the file` };
  }
  return undefined;
}

function blockFault(text: string): Fault | undefined {
  const hint = 'cosign generate-key-pair writes it as cosign.pub.';
  if (/-\0-/.test(text))
    return {
      found: 'a file in UTF-16',
      expected: publicKeys,
      hint: 'Save it as UTF-8; in PowerShell with: Set-Content -Encoding ascii.',
    };
  const label = /-----BEGIN ([A-Z ]+)-----/.exec(text)?.[1];
  if (label !== undefined && /PRIVATE/.test(label))
    return { found: `a private key ("${label}")`, expected: publicKeys, hint: `Keep it secret. ${hint}` };
  if (label !== 'PUBLIC KEY' && label !== 'RSA PUBLIC KEY')
    return { found: label === undefined ? 'a file that is not PEM' : `PEM of "${label}"`, expected: publicKeys, hint };
  try {
    const { asymmetricKeyType: type, asymmetricKeyDetails: details = {} } = createPublicKey(text);
    const { namedCurve = '', modulusLength = 0 } = details;
    if (type === 'ed25519') return undefined;
    if (type === 'ec' && ['prime256v1', 'secp384r1', 'secp521r1'].includes(namedCurve)) return undefined;
    if (type === 'rsa' && modulusLength >= 2048) return undefined;
    const what = [type, namedCurve, modulusLength > 0 ? `${modulusLength} bits` : ''].filter(Boolean).join(', ');
    return { found: `a key of another kind: ${what}`, expected: publicKeys };
  } catch (error) {
    return { found: `PEM that cannot be read: ${opensslWords(error)}`, expected: publicKeys, hint };
  }
}

function rootFault(text: string): Fault | undefined {
  const expected = 'Sigstore’s trusted root: JSON with "certificateAuthorities" or "tlogs"';
  try {
    const parsed: unknown = JSON.parse(text);
    const fits =
      typeof parsed === 'object' && parsed !== null && ('certificateAuthorities' in parsed || 'tlogs' in parsed);
    return fits ? undefined : { found: 'other JSON', expected };
  } catch {
    return { found: 'a file that is not JSON', expected };
  }
}

function textOf(node: Node | undefined): string | undefined {
  return node?.type === 'string' && node.value !== '' ? String(node.value) : undefined;
}

function textsOf(node: Node | undefined): string[] {
  return (node?.type === 'array' ? itemsOf(node) : [node]).flatMap(each => textOf(each) ?? []);
}
