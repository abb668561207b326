import { isIP } from 'node:net';
import type { Credentials } from '../../server/connections/access.ts';
import type { TlsFilesSettings } from '../../server/connections/tlsFiles.ts';
import type { ServerOptions } from '../../server/options.ts';
import { OptionConflict } from '../options/errors.ts';
import type { ServeFlags } from './flags.ts';

const MIB = 1024 * 1024;

/** What the server is told for these flags; of what is counted or measured as a whole, each worker gets its share. */
export function serverOptions(
  flags: ServeFlags,
  programVersion: string,
  credentials: Credentials | undefined,
): ServerOptions {
  const share = (whole: number): number => Math.ceil(whole / flags.workers);
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
    ...(flags.cachePinned === undefined ? {} : { cachePinned: flags.cachePinned }),
    cacheOther: flags.cacheOther,
    cacheBytes: share(flags.memoryCache) * MIB,
    maxBodies: share(flags.maxDownloads),
    maxWaitingBodies: share(flags.maxQueue),
    maxBodyWaitMs: flags.queueTimeout,
    maxConnections: share(flags.maxConnections),
    retryAfterSeconds: flags.retryAfter,
    headersTimeoutMs: flags.headersTimeout,
    requestTimeoutMs: flags.requestTimeout,
    stallTimeoutMs: flags.stallTimeout,
    keepAliveTimeoutMs: flags.keepAliveTimeout,
    pollMs: flags.pollInterval,
    patrolMs: flags.checkInterval,
    verifyMs: flags.verifyInterval,
    verifyBytesPerSecond: share(flags.verifyRate) * MIB,
    trustedProxies: flags.trustedProxies,
    logSampleEvery: flags.accessLog === 'errors' ? 0 : flags.logSample,
    ...(tls === undefined ? {} : { tls }),
    ...(credentials === undefined ? {} : { credentials }),
  };
}

function tlsFiles({ tlsCert, tlsKey, tlsClientCa }: ServeFlags): TlsFilesSettings | undefined {
  if (tlsCert === undefined && tlsKey === undefined && tlsClientCa === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined)
    throw new OptionConflict('--tls-cert and --tls-key belong together', {
      expected: 'both of them; --tls-client-ca only beside them',
      found: `no ${tlsCert === undefined ? '--tls-cert' : '--tls-key'}`,
      hint: 'Name the other file as well, or none.',
    });
  return { certFile: tlsCert, keyFile: tlsKey, ...(tlsClientCa === undefined ? {} : { clientCaFile: tlsClientCa }) };
}
