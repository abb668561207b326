import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import {
  CertificateRejected,
  type ChainSummary,
  certificateFault,
  handshakeFault,
} from '../../registry/builtin/faults/tlsErrors.ts';
import { diagnose } from '../../registry/doctor/diagnose.ts';
import { RegistryOptionsInvalid, RegistryRefusal, RegistryTls } from '../../registry/errors.ts';
import { readCertificates, readPrivateKey } from '../../registry/hosts/pem.ts';
import type { RegistryEvent } from '../../registry/registry.ts';
import { CertificateAuthority, type KeyAndCertificate } from '../support/certificates.ts';
import { openEngine, SIGNAL, setUp } from './engineBench.ts';

const root = new CertificateAuthority('Root');
const other = new CertificateAuthority('Other');
const intermediate = new CertificateAuthority('Inter', root);
let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plugin-mirror-trust-'));
});
after(() => rm(folder, { recursive: true }));

async function file(content: string | Buffer, name = 'ca.pem'): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

/** The error of a registry with this certificate, from the engine and from the TLS step of doctor. */
async function refusals(context: TestContext, tls: KeyAndCertificate, authorities: string): Promise<string[]> {
  const caFile = await file(authorities);
  const { reference, registry } = await setUp(context, { tls });
  const error = await openEngine(context, { caFile, retries: 0 })
    .engine.resolve(reference, SIGNAL)
    .catch((fault: unknown) => fault);
  assert.ok(error instanceof RegistryTls, String(error));
  assert.equal(error.temporary, false);
  const { targets } = await diagnose([{ role: 'registry', registry: registry.host }], { caFile }, SIGNAL);
  const step = targets[0]?.steps.find(it => it.step === 'tls');
  assert.equal(step?.status, 'failed');
  assert.ok(step?.found.startsWith(error.message), step?.found);
  return [`${error.message} ${error.hint}`, `${step?.found} ${step?.hint}`];
}

test('a certificate for other names is described by the names that it holds', async context => {
  for (const [hosts, commonName, words] of [
    [
      [],
      '127.0.0.1',
      /without the IP address 127\.0\.0\.1.*no subject alternative names.*"127\.0\.0\.1".*IP:127\.0\.0\.1/,
    ],
    [['registry.example'], '127.0.0.1', /without the IP address 127\.0\.0\.1.*it holds DNS:registry\.example/],
  ] as const)
    for (const text of await refusals(context, root.issue({ hosts, commonName }), root.cert)) {
      assert.match(text, words);
      assert.doesNotMatch(text, /for another name.*for 127\.0\.0\.1/);
    }
});

test('an unknown authority is named, and whether the server sent its certificate', async context => {
  const leaf = intermediate.issue();
  const chain = { ...leaf, cert: leaf.cert + intermediate.cert };
  for (const [tls, authorities, words] of [
    [leaf, root.cert, /signed by "Inter", and the server does not send that certificate.*append it/],
    [chain, other.cert, /signed by "Root", and the server does not send that certificate/],
    [{ ...leaf, cert: chain.cert + root.cert }, other.cert, /the chain ends at "Root".*--ca-file/],
    [root.issue(), other.cert, /signed by "Root"/],
  ] as const)
    for (const text of await refusals(context, tls, authorities)) assert.match(text, words);
  const bench = await setUp(context, { tls: chain }, { caFile: await file(root.cert) });
  assert.equal(await bench.engine.resolve(bench.reference, SIGNAL), bench.image.digest);
  const both = await setUp(context, { tls: leaf }, { caFile: await file(root.cert.trimEnd() + intermediate.cert) });
  assert.equal(await both.engine.resolve(both.reference, SIGNAL), both.image.digest);
});

test('a certificate for clients only is said to be such', async context => {
  for (const text of await refusals(context, root.issue({ usage: 'client' }), root.cert))
    assert.match(text, /is not for servers/);
});

test('every code of OpenSSL that Node names has words of its own', () => {
  const chain: ChainSummary = { subject: 's', issuer: 'i', names: '', root: 'r', isComplete: false, length: 1 };
  // https://nodejs.org/api/tls.html#x509-certificate-error-codes
  const codes = [
    ...['UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_CRL', 'UNABLE_TO_DECRYPT_CERT_SIGNATURE'],
    ...['UNABLE_TO_DECRYPT_CRL_SIGNATURE', 'UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY', 'CERT_SIGNATURE_FAILURE'],
    ...['CRL_SIGNATURE_FAILURE', 'CERT_NOT_YET_VALID', 'CERT_HAS_EXPIRED', 'CRL_NOT_YET_VALID', 'CRL_HAS_EXPIRED'],
    ...['ERROR_IN_CERT_NOT_BEFORE_FIELD', 'ERROR_IN_CERT_NOT_AFTER_FIELD', 'ERROR_IN_CRL_LAST_UPDATE_FIELD'],
    ...['ERROR_IN_CRL_NEXT_UPDATE_FIELD', 'OUT_OF_MEM', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN'],
    ...['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'CERT_CHAIN_TOO_LONG', 'CERT_REVOKED'],
    ...[
      'INVALID_CA',
      'PATH_LENGTH_EXCEEDED',
      'INVALID_PURPOSE',
      'CERT_UNTRUSTED',
      'CERT_REJECTED',
      'HOSTNAME_MISMATCH',
    ],
  ];
  for (const code of codes) {
    const { what, hint } = certificateFault(new CertificateRejected(code, chain), new URL('https://h.example'));
    assert.ok(!what.includes(code) && hint !== '', code);
  }
  const unknown = certificateFault(new CertificateRejected('EE_KEY_TOO_SMALL', chain), new URL('https://h.example'));
  assert.match(unknown.what, /EE_KEY_TOO_SMALL/);
});

test('what OpenSSL reports of a handshake is reported in words, with who can fix it', () => {
  const at = new URL('https://h.example:5000/v2/');
  for (const code of [
    'ERR_SSL_WRONG_VERSION_NUMBER',
    'ERR_SSL_PACKET_LENGTH_TOO_LONG',
    'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
    'ERR_SSL_UNSUPPORTED_PROTOCOL',
    'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE',
    'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE',
    'ERR_SSL_TLSV1_ALERT_INSUFFICIENT_SECURITY',
    'ERR_SSL_TLSV1_UNRECOGNIZED_NAME',
    'ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR',
    'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
    'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
    'ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE',
    'ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED',
    'ERR_SSL_DH_KEY_TOO_SMALL',
    'ERR_SSL_UNSAFE_LEGACY_RENEGOTIATION_DISABLED',
    'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC',
    'ERR_SSL_TLSV1_ALERT_DECODE_ERROR',
    'ERR_SSL_SSL/TLS_ALERT_ILLEGAL_PARAMETER',
    'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
  ]) {
    const fault = handshakeFault(code, '', at);
    assert.ok(fault !== undefined && !fault.what.includes('ERR_'), code);
    assert.match(fault.hint, /h\.example|--cert-file|firewall/, code);
  }
  assert.match(handshakeFault('ERR_SSL_NEW_KIND', '', at)?.what ?? '', /\(ERR_SSL_NEW_KIND\)$/);
  assert.equal(handshakeFault('ECONNRESET', '', at), undefined);
  assert.equal(handshakeFault('ERR_SSL_UNEXPECTED_EOF_WHILE_READING', '', at), undefined);
});

const damaged = (cert: string): string =>
  cert.split('\n').slice(0, 3).concat('-----END CERTIFICATE-----', '').join('\n');

test('a bundle is read certificate by certificate, however it was put together', async () => {
  const both = other.cert + root.cert;
  for (const [name, text] of Object.entries({
    'one after the other': both,
    'Windows line ends': both.replaceAll('\n', '\r\n'),
    'a byte order mark': `\ufeff${both}`,
    'no line break between them': other.cert.trimEnd() + root.cert,
    comments: `# authorities\n${other.cert}\nthe second:\n${root.cert}end`,
    indented: both.replaceAll('\n', '\n    '),
    'one line each': both.replace(/\n(?!-)(?<!-\n)/g, ''),
    'a key next to them': `${root.issue().key}${both}`,
  }))
    assert.equal((await readCertificates(await file(text))).length, 2, name);
});

test('a damaged certificate of a bundle is named by file, number and line', async () => {
  const lines = other.cert.split('\n').length;
  for (const [text, which, found] of [
    [other.cert + damaged(root.cert), `certificate 2 of 2, which begins at line ${lines}`, /cut off|damaged/],
    [damaged(root.cert) + other.cert, 'certificate 1 of 2, which begins at line 1', /cut off|damaged/],
    [root.cert.replace(/-----END.*/s, '') + other.cert, 'certificate 1 of 2, which begins at line 1', /missing/],
    [other.cert + root.cert.slice(0, 200), `certificate 2 of 2, which begins at line ${lines}`, /missing/],
  ] as const) {
    const path = await file(text, 'bundle.pem');
    await assert.rejects(readCertificates(path), (error: unknown) => {
      assert.ok(error instanceof RegistryOptionsInvalid);
      assert.equal(error.message, `The file ${path} holds a damaged certificate: ${which}`);
      assert.match(error.found ?? '', found);
      assert.doesNotMatch(error.hint, /inform der/);
      return true;
    });
  }
});

test('a file without PEM certificates is named by what it holds', async () => {
  const der = Buffer.from(root.cert.replace(/-.*-|\s/g, ''), 'base64');
  for (const [content, found, hint] of [
    [der, 'DER', /-inform der/],
    [Buffer.from(root.cert, 'utf16le'), 'UTF-16', /encoding/i],
    [Buffer.from(`\ufeff${root.cert}`, 'utf16le'), 'UTF-16', /encoding/i],
    ['-----BEGIN PKCS7-----\nMIIB\n-----END PKCS7-----\n', 'PKCS #7', /pkcs7 -print_certs/],
    [root.issue().key, 'PRIVATE KEY', /file that holds/],
    ['', 'an empty file', /file that holds/],
    ['hello', 'other text', /file that holds/],
    ['<html><body>404</body></html>', 'a web page', /download it again/],
    [der.toString('base64'), 'base64 without its -----BEGIN line', /both of its markers/],
    [
      Buffer.from(`308209a402010330820960${'06092a864886f70d010701'}00`, 'hex'),
      'PKCS #12',
      /openssl pkcs12 -in FILE -nokeys/,
    ],
  ] as const)
    await assert.rejects(readCertificates(await file(content)), (error: unknown) => {
      assert.ok(error instanceof RegistryOptionsInvalid);
      assert.equal(error.found, found);
      assert.match(error.hint, hint);
      return true;
    });
});

test('a damaged NODE_EXTRA_CA_CERTS causes one warning and stops nothing', async context => {
  const extra = await file(other.cert + damaged(root.cert), 'extra.pem');
  const { engine, events } = openEngine(context, {
    caFile: await file(root.cert),
    env: { NODE_EXTRA_CA_CERTS: extra },
  });
  const bench = await setUp(context, { tls: root.issue() });
  assert.equal(await engine.resolve(bench.reference, SIGNAL), bench.image.digest);
  const warnings = events.flatMap(event => (event.type === 'warning' ? [`${event.subject}: ${event.message}`] : []));
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /^NODE_EXTRA_CA_CERTS: .*extra\.pem.*certificate 2 of 2/);
});

test('NODE_EXTRA_CA_CERTS with markers within a line is used, with a warning that names the certificate', async context => {
  const line = other.cert.split('\n').length - 1;
  for (const [text, which] of [
    [other.cert.trimEnd() + root.cert, `certificate 2 of 2, which begins at line ${line},`],
    [`\ufeff${root.cert}`, 'certificate 1 of 1, which begins at line 1,'],
    [root.cert.replace('\n-----END', '-----END'), 'certificate 1 of 1, which begins at line 1,'],
  ] as const) {
    const { engine, events } = openEngine(context, { env: { NODE_EXTRA_CA_CERTS: await file(text, 'extra.pem') } });
    const bench = await setUp(context, { tls: root.issue() });
    assert.equal(await engine.resolve(bench.reference, SIGNAL), bench.image.digest);
    const warnings = events.flatMap(event => (event.type === 'warning' ? [`${event.subject}: ${event.message}`] : []));
    assert.equal(warnings.length, 1);
    assert.ok(warnings[0]?.startsWith('NODE_EXTRA_CA_CERTS: ') && warnings[0].includes(which), warnings[0]);
  }
});

test('a missing NODE_EXTRA_CA_CERTS causes a warning, in doctor as well', async context => {
  const env = { NODE_EXTRA_CA_CERTS: join(folder, 'missing.pem') };
  const bench = await setUp(context, { tls: root.issue() });
  const caFile = await file(root.cert);
  const events: RegistryEvent[] = [];
  const onEvent = (event: RegistryEvent): unknown => events.push(event);
  const { engine } = openEngine(context, { caFile, env, onEvent });
  await engine.resolve(bench.reference, SIGNAL);
  await diagnose([{ role: 'registry', registry: bench.registry.host }], { caFile, env, onEvent }, SIGNAL);
  const messages = new Set(events.map(event => (event.type === 'warning' ? event.message : '')));
  assert.deepEqual(messages.size, 1);
  assert.match([...messages][0] ?? '', /missing\.pem cannot be read: ENOENT; no authority is added\./);
});

test('a key that cannot be used is named by what is wrong with it', async context => {
  const { key, cert } = root.issue({ usage: 'client' });
  const encrypted = createPrivateKey(key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'x',
  });
  for (const [content, found] of [
    [Buffer.from(`\ufeff${key}`, 'utf16le'), 'UTF-16'],
    [createPrivateKey(key).export({ type: 'pkcs8', format: 'der' }), 'DER'],
    [cert, 'CERTIFICATE'],
    [key.replaceAll('PRIVATE', 'OPENSSH PRIVATE'), 'OPENSSH PRIVATE KEY'],
    ['', 'an empty file'],
    [key.replace(/-----END.*/s, ''), 'no -----END PRIVATE KEY-----'],
  ] as const)
    await assert.rejects(readPrivateKey(await file(content, 'client.key')), { found });
  const certFile = await file(cert, 'client.pem');
  for (const [content, words] of [
    [encrypted, /cannot be used: the key is encrypted with a passphrase$/],
    [root.issue().key, /cannot be used: the key is that of another certificate$/],
    [key.replace(/\n(?!-).{20}/, '\n'), /cannot be used: its content is cut off, damaged or of another kind$/],
  ] as const) {
    const { engine } = openEngine(context, { certFile, keyFile: await file(String(content), 'client.key') });
    const reference = { registry: 'registry.invalid', repository: 'a/b', tag: '1' };
    await assert.rejects(engine.resolve(reference, SIGNAL), (error: unknown) => {
      assert.ok(error instanceof RegistryOptionsInvalid, String(error));
      assert.match(error.message, words);
      return true;
    });
  }
});

test('a client certificate is a certificate, and its key a key', async context => {
  const { key, cert } = root.issue({ usage: 'client' });
  const certFile = await file(damaged(cert), 'client.pem');
  const keyFile = await file(key, 'client.key');
  const { engine } = openEngine(context, { certFile, keyFile });
  const reference = { registry: 'registry.invalid', repository: 'a/b', tag: '1' };
  await assert.rejects(engine.resolve(reference, SIGNAL), /client\.pem holds a damaged certificate/);
  const swapped = openEngine(context, { certFile: await file(cert, 'client.pem'), keyFile: certFile }).engine;
  await assert.rejects(swapped.resolve(reference, SIGNAL), (error: unknown) => error instanceof RegistryRefusal);
});
