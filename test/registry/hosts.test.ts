import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RegistryOptionsInvalid } from '../../registry/errors.ts';
import { addressKind, endpointOf, isLoopback } from '../../registry/hosts/hosts.ts';
import { isExempt, proxyFor } from '../../registry/hosts/proxy.ts';

const exempt = (url: string, noProxy: string): boolean => isExempt(new URL(url), noProxy);

test('NO_PROXY names hosts with their subdomains', () => {
  assert.equal(exempt('https://reg.example.com', 'other.org, example.com'), true);
  assert.equal(exempt('https://reg.example.com', '.example.com'), true);
  assert.equal(exempt('https://reg.example.com', '*.EXAMPLE.com'), true);
  assert.equal(exempt('https://example.com', '.example.com'), true);
  assert.equal(exempt('https://badexample.com', 'example.com'), false);
  assert.equal(exempt('https://example.com.evil.org', 'example.com'), false);
  assert.equal(exempt('https://anything', '*'), true);
  assert.equal(exempt('https://anything', ' ,, '), false);
  assert.equal(exempt('https://anything', '.'), false);
});

test('NO_PROXY accepts ports, also the default ones', () => {
  assert.equal(exempt('https://reg.example.com', 'example.com:443'), true);
  assert.equal(exempt('http://reg.example.com', 'example.com:443'), false);
  assert.equal(exempt('https://reg.example.com:5000', 'example.com:5000'), true);
  assert.equal(exempt('https://reg.example.com:5000', 'example.com:5001'), false);
});

test('NO_PROXY accepts literal addresses and networks, for literal hosts only', () => {
  assert.equal(exempt('http://10.1.2.3:5000', '10.0.0.0/8'), true);
  assert.equal(exempt('http://11.1.2.3', '10.0.0.0/8'), false);
  assert.equal(exempt('http://reg.example.com', '10.0.0.0/8'), false);
  assert.equal(exempt('http://[fd00::7]:5000', 'fd00::/8'), true);
  assert.equal(exempt('http://[fd00::7]:5000', '[fd00::7]:5000'), true);
  assert.equal(exempt('http://[fd00:0:0::7]', 'fd00::7'), true);
  assert.equal(exempt('http://10.1.2.3', '1.2.3'), false);
  assert.equal(exempt('http://10.1.2.3', '10.1.2.0/99'), false);
  assert.equal(exempt('http://10.1.2.3', '10.1.2.3'), true);
});

test('the proxy follows the scheme, lower case before upper case', () => {
  const env = { http_proxy: 'http://a:1', HTTP_PROXY: 'http://b:2', HTTPS_PROXY: 'c:3', NO_PROXY: 'skip.me' };
  assert.equal(proxyFor(new URL('http://r.example'), env)?.host, 'a:1');
  assert.equal(proxyFor(new URL('https://r.example'), env)?.href, 'http://c:3/');
  assert.equal(proxyFor(new URL('https://skip.me'), env), undefined);
  assert.equal(proxyFor(new URL('https://r.example'), {}), undefined);
  assert.equal(proxyFor(new URL('https://r.example'), { HTTPS_PROXY: ' ' }), undefined);
});

test('loopback is reached through a proxy only if the proxy is on this machine', () => {
  assert.equal(proxyFor(new URL('http://127.0.0.1:5000'), { HTTP_PROXY: 'http://proxy.example:1' }), undefined);
  assert.equal(proxyFor(new URL('http://127.0.0.1:5000'), { HTTP_PROXY: 'http://127.0.0.1:1' })?.host, '127.0.0.1:1');
});

test('an unusable proxy is refused without showing its password', () => {
  for (const text of ['socks5://u:secret@h:1', 'http://', 'ftp://h', 'http://u:secret@h:99999'])
    assert.throws(
      () => proxyFor(new URL('https://r.example'), { HTTPS_PROXY: text }),
      (error: unknown) => error instanceof RegistryOptionsInvalid && !JSON.stringify(error).includes('secret'),
      text,
    );
});

test('loopback and private addresses are recognized', () => {
  for (const host of ['localhost', 'LOCALHOST.', '127.0.0.1', '127.9.9.9', '[::1]', 'a.localhost', '::ffff:127.0.0.1'])
    assert.equal(isLoopback(host), true, host);
  for (const host of ['128.0.0.1', 'localhost.example.com', '127.0.0.1.example.com', '10.0.0.1'])
    assert.equal(isLoopback(host), false, host);
});

test('an address is judged by the network that it leads to, in every form', () => {
  for (const [kind, addresses] of Object.entries({
    loopback: [
      '127.0.0.1',
      '::1',
      '0.0.0.0',
      '::',
      '::ffff:127.0.0.1',
      '::ffff:7f00:1',
      '64:ff9b::7f00:1',
      '::127.0.0.1',
    ],
    metadata: [
      ...['169.254.169.254', 'fe80::1', 'fe80::1%eth0', 'febf::1', '100.100.100.200', 'fd00:ec2::254', 'FD00:EC2::254'],
      ...[
        '::ffff:169.254.169.254',
        '::ffff:a9fe:a9fe',
        '0:0:0:0:0:ffff:a9fe:a9fe',
        '::a9fe:a9fe',
        '::ffff:0:a9fe:a9fe',
      ],
      ...['168.63.129.16', '192.0.0.192', '::ffff:168.63.129.16'],
      // 169.254.169.254 in a local prefix of NAT64 of 48, 56 and 64 bits, with another address at the end.
      ...[
        '64:ff9b:1:a9fe:a9:fe00::',
        '64:ff9b:1:a9fe:a9:fe00:808:808',
        '64:ff9b:1:a9:fe:a9fe::',
        '64:ff9b:1:0:a9:fea9:fe00:0',
      ],
      ...['64:ff9b::169.254.169.254', '64:ff9b:1::a9fe:a9fe', '2002:a9fe:a9fe::1', '::ffff:6464:64c8'],
    ],
    private: [
      '10.0.0.1',
      '172.31.0.1',
      '192.168.1.1',
      '100.64.0.1',
      'fd00::1',
      '::ffff:10.0.0.1',
      '2002:a00:1::',
      '64:ff9b:1:a00:0:100:808:808',
      'fec0::1',
    ],
    public: [
      '172.32.0.1',
      '8.8.8.8',
      '2001:db8::1',
      '::ffff:8.8.8.8',
      '64:ff9b::808:808',
      '64:ff9b:1::808:808',
      '64:ff9b:1:808:8:800::',
      'ten.example',
      '2400:3200::1',
    ],
  }))
    for (const address of addresses) assert.equal(addressKind(address), kind, address);
});

test('Docker Hub has another API host and the library namespace', () => {
  assert.deepEqual(endpointOf('docker.io', 'nginx'), { host: 'registry-1.docker.io', repository: 'library/nginx' });
  assert.deepEqual(endpointOf('docker.io', 'a/b'), { host: 'registry-1.docker.io', repository: 'a/b' });
  assert.deepEqual(endpointOf('ghcr.io', 'nginx'), { host: 'ghcr.io', repository: 'nginx' });
});
