import process from 'node:process';
import { printable } from '../../base/printable.ts';
import { isUtf16 } from '../../base/utf16.ts';
import type { RegistryOptions, RequestEvent } from '../../registry/registry.ts';
import { printError } from '../render/print.ts';
import { tidySecret } from './environment.ts';
import type { RegistryFlags } from './tables.ts';
import { blobCacheDir } from './userFolders.ts';

const MEBIBYTE = 1024 * 1024;
const NO_CACHE =
  'warning: this user has no home folder, so nothing is cached between runs; set XDG_CACHE_HOME, or name a folder with --cache-dir\n';

/** Returns the options of a registry for these flags. Reads the password from standard input or the environment. @throws the errors of checkOptions */
export async function registryOptions(flags: RegistryFlags): Promise<RegistryOptions> {
  const { checkOptions } = await import('./checkOptions.ts');
  // The password may come from a file, through a Kubernetes Secret, and then ends with a newline.
  const fromEnvironment = tidySecret(process.env.PLUGIN_MIRROR_PASSWORD ?? '') || undefined;
  await checkOptions(flags, fromEnvironment !== undefined, process.stdin.isTTY === true);
  await warnOfUsualFiles(flags.registryConfig === undefined);
  const password = flags.passwordStdin ? await readPassword() : fromEnvironment;
  const { engine, concurrency, plainHttp, insecure, allowHost, caFile, certFile, keyFile, certsDir } = flags;
  const { registryConfig, username, platform } = flags;
  const cacheDir = flags.cacheSize === 0 ? undefined : blobCacheDir(process.env, flags.cacheDir);
  if (flags.cacheSize !== 0 && cacheDir === undefined) printError(NO_CACHE);
  const trust = { plainHttp, insecure, allowHost, caFile, certFile, keyFile, certsDir };
  const given = { ...trust, registryConfig, username, platform, password };
  return {
    engine,
    concurrency,
    timeoutMs: flags.timeout,
    retries: flags.retries,
    env: process.env,
    ...(flags.logLevel === 'debug' ? { onRequest: event => printError(`${requestLine(event)}\n`) } : {}),
    ...(cacheDir === undefined ? {} : { cacheDir, cacheSizeBytes: flags.cacheSize * MEBIBYTE }),
    ...(Object.fromEntries(
      Object.entries(given).filter(([, value]) => value !== undefined),
    ) as Partial<RegistryOptions>),
  };
}

/** `debug GET HOST/v2/… 200, 1234 bytes, 56 ms`. The event holds no secrets. */
export function requestLine({ method, host, path, status, error, bytes, ms, attempt }: RequestEvent): string {
  const reply = error === undefined ? `${status ?? 'no status'}, ${bytes} bytes` : `failed: ${error}`;
  const retry = attempt === 1 ? '' : `, attempt ${attempt}`;
  return printable(`debug ${method} ${host}${path} ${reply}, ${ms} ms${retry}`);
}

async function warnOfUsualFiles(withFiles: boolean): Promise<void> {
  const { warningsOfUsualFiles } = await import('./credentialsFiles.ts');
  for (const warning of await warningsOfUsualFiles(process.env, withFiles)) printError(`${printable(warning)}\n`);
}

/** Reads the password from standard input, without the newline that `echo` adds. @throws OptionInvalid */
async function readPassword(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  const password = tidySecret(bytes.toString('utf8'));
  const isWide = isUtf16(bytes);
  if (!isWide && password !== '' && !/[\r\n\0]/.test(password)) return password;
  const { OptionInvalid } = await import('./errors.ts');
  throw new OptionInvalid('Standard input contains no password', {
    subject: '--password-stdin',
    expected: 'one line of UTF-8: the password',
    found: isWide ? 'text in UTF-16' : password === '' ? 'nothing' : 'more than one line',
    hint: isWide
      ? 'Write the file as UTF-8; in PowerShell with: Set-Content -Encoding utf8, and set $OutputEncoding to UTF-8 for a pipe.'
      : 'Read the password from a file or a pipe: plugin-mirror … --username NAME --password-stdin < FILE',
  });
}
