import { isIP } from 'node:net';
import type { Credentials, ServerOptions, TlsFilesSettings } from '../../server/options.ts';
import { OptionConflict } from '../options/errors.ts';
import type { ServeFlags } from './options.ts';

const MIB = 1024 * 1024;

/** Returns the server's options for these flags. @throws OptionConflict */
export function serverOptions(
  flags: ServeFlags,
  programVersion: string,
  credentials: Credentials | undefined,
): ServerOptions {
  const address = flags.host.replace(/^\[(.*)\]$/, '$1');
  const tls = tlsFiles(flags);
  return {
    treeDir: flags.tree,
    programVersion,
    host: isIP(address) === 0 ? flags.host : address,
    port: flags.port,
    basePath: flags.basePath.replace(/\/+$/, ''),
    urlPatterns: flags.urlPattern ?? [],
    latest: flags.latest === true,
    encoding: flags.encoding,
    cacheBytes: flags.memoryCache * MIB,
    maxDownloads: flags.maxDownloads,
    stallTimeoutMs: flags.stallTimeout,
    trustedProxies: flags.trustedProxies,
    status: flags.status === 'on',
    sharedAddresses: flags.sharedAddress ?? [],
    ...(flags.accessLog === 'off' ? {} : { accessLog: flags.accessLog }),
    ...(flags.images === undefined ? {} : { images: flags.images }),
    ...(flags.lock === undefined ? {} : { lockFile: flags.lock }),
    ...(tls === undefined ? {} : { tls }),
    ...(credentials === undefined ? {} : { credentials }),
  };
}

/** Returns what --print-config prints: the effective options, without secrets. */
export function effectiveConfig(options: ServerOptions, flags: ServeFlags): object {
  const {
    onEvent: _,
    writeAccessLog: __,
    accessLog: ___,
    rereadCredentials: ____,
    readHigress: _____,
    ...shown
  } = options;
  const { credentials, maxDownloads: maxBodies, ...plain } = shown;
  const asksFor = { token: credentials?.token !== undefined, user: credentials?.login?.user ?? null };
  const { accessLog, logLevel, logFormat, drainDelay: drainDelayMs, grace: graceMs } = flags;
  return { ...plain, maxBodies, asksFor, accessLog, logLevel, logFormat, drainDelayMs, graceMs };
}

function tlsFiles({ tlsCert, tlsKey, tlsClientCa }: ServeFlags): TlsFilesSettings | undefined {
  if (tlsCert === undefined && tlsKey === undefined && tlsClientCa === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined)
    throw new OptionConflict('--tls-cert and --tls-key go together', {
      expected: 'both of them; --tls-client-ca only together with them',
      found: `no ${tlsCert === undefined ? '--tls-cert' : '--tls-key'}`,
      hint: 'Give both --tls-cert and --tls-key, or neither of the three.',
    });
  return { certFile: tlsCert, keyFile: tlsKey, ...(tlsClientCa === undefined ? {} : { clientCaFile: tlsClientCa }) };
}
