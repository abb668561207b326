import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { isUtf16 } from '../../base/utf16.ts';
import type { Credentials, ServerOptions, TlsFilesSettings } from '../../server/options.ts';
import { tidySecret } from '../options/environment.ts';
import { fileUnreadableError, OptionConflict, OptionInvalid } from '../options/errors.ts';
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
      hint: 'Give both --tls-cert and --tls-key, or none of the three.',
    });
  return { certFile: tlsCert, keyFile: tlsKey, ...(tlsClientCa === undefined ? {} : { clientCaFile: tlsClientCa }) };
}

type Environment = Readonly<Record<string, string | undefined>>;

export interface CredentialFlags {
  readonly authTokenFile?: string | undefined;
  readonly authUser?: string | undefined;
  readonly authPasswordFile?: string | undefined;
}

/**
 * Reads token and password from files or from PLUGIN_MIRROR_AUTH_TOKEN and PLUGIN_MIRROR_AUTH_PASSWORD, never from the
 * command line, which every user of the machine can read. A byte order mark and a line break at the end of a file are not
 * part of the secret.
 * @throws OptionInvalid, OptionConflict
 */
export function readCredentials(flags: CredentialFlags, env: Environment): Credentials | undefined {
  const token = secret(flags.authTokenFile, '--auth-token-file', env.PLUGIN_MIRROR_AUTH_TOKEN);
  const password = secret(flags.authPasswordFile, '--auth-password-file', env.PLUGIN_MIRROR_AUTH_PASSWORD);
  const user = flags.authUser;
  if ((user === undefined) !== (password === undefined))
    throw new OptionConflict('A user and a password go together', {
      expected: '--auth-user with --auth-password-file or PLUGIN_MIRROR_AUTH_PASSWORD',
      found: user === undefined ? 'a password without a user' : 'a user without a password',
      hint: 'Give both, or neither.',
    });
  if (token === undefined && password === undefined) return undefined;
  return {
    ...(token === undefined ? {} : { token }),
    ...(user === undefined || password === undefined ? {} : { login: { user, password } }),
  };
}

/** Longer than any secret that fits into a header. */
const MAX_BYTES = 64 * 1024;

function secret(file: string | undefined, option: string, fromEnv: string | undefined): string | undefined {
  if (file === undefined) return fromEnv === '' ? undefined : fromEnv;
  let bytes: Buffer;
  try {
    // The server reads the file again and again: a pipe in its place would block it.
    const stats = statSync(file);
    if (!stats.isFile() || stats.size > MAX_BYTES)
      throw new Error(stats.isFile() ? `a file of ${stats.size} bytes` : 'no regular file');
    bytes = readFileSync(file);
  } catch (error) {
    throw fileUnreadableError(option, file, error, `a file of at most ${MAX_BYTES} bytes that this user may read`);
  }
  const text = tidySecret(bytes.toString('utf8'));
  if (isUtf16(bytes))
    throw new OptionInvalid(`${option}: ${file} is in UTF-16`, {
      subject: option,
      expected: 'UTF-8',
      found: 'UTF-16',
      hint: 'Save it as UTF-8; in PowerShell with: Set-Content -Encoding utf8.',
    });
  if (text === '')
    throw new OptionInvalid(`${option}: ${file} is empty`, {
      subject: option,
      expected: 'a file that contains the secret',
      found: 'an empty file',
      hint: 'Write the secret into it, or leave the option out.',
    });
  return text;
}
