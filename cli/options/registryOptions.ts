import { access, constants } from 'node:fs/promises';
import process from 'node:process';
import { readBoundedFile } from '../../base/boundedFile.ts';
import { printable } from '../../base/printable.ts';
import { isUtf16 } from '../../base/utf16.ts';
import {
  brokenDefaultFiles,
  MOST_CREDENTIALS_BYTES,
  readCredentialsFile,
} from '../../registry/credentials/credentialsSource.ts';
import { RegistryCredentials } from '../../registry/errors.ts';
import { parsePlatform } from '../../registry/image.ts';
import type { RegistryOptions, RequestEvent } from '../../registry/registry.ts';
import { printError } from '../render/print.ts';
import { tidySecret } from './environment.ts';
import { fileUnreadableError, OptionConflict, OptionInvalid } from './errors.ts';
import { readStandardInput } from './standardInput.ts';
import type { RegistryFlags } from './tables.ts';
import { blobCacheDir } from './userFolders.ts';

const PIPE = 'Read the password from a file or a pipe: plugin-mirror … --username NAME --password-stdin < FILE';
const MEBIBYTE = 1024 * 1024;
const NO_CACHE =
  'warning: this user has no home folder, so nothing is cached between runs; set XDG_CACHE_HOME, or name a folder with --cache-dir\n';

/** Returns the options of a registry for these flags. Reads the password from standard input or the environment. @throws the errors of checkOptions, the signal's reason */
export async function registryOptions(flags: RegistryFlags, signal: AbortSignal): Promise<RegistryOptions> {
  // The password may come from a file, through a Kubernetes Secret, and then ends with a newline.
  const fromEnvironment = tidySecret(process.env.PLUGIN_MIRROR_PASSWORD ?? '') || undefined;
  await checkOptions(flags, fromEnvironment !== undefined, process.stdin.isTTY === true);
  for (const warning of await warningsOfUsualFiles(process.env, flags.registryConfig === undefined))
    printError(`${printable(warning)}\n`);
  const password = flags.passwordStdin ? await readPassword(signal) : fromEnvironment;
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

/** Reads the password from standard input, without the newline that `echo` adds. @throws OptionInvalid, the signal's reason */
async function readPassword(signal: AbortSignal): Promise<string> {
  const bytes = await readStandardInput(MEBIBYTE, signal);
  const password = tidySecret(bytes?.toString('utf8') ?? '');
  const isWide = bytes !== undefined && isUtf16(bytes);
  if (!isWide && password !== '' && !/[\r\n\0]/.test(password)) return password;
  const text = password === '' ? 'nothing' : 'more than one line';
  throw new OptionInvalid('Standard input contains no password', {
    subject: '--password-stdin',
    expected: 'one line of UTF-8: the password',
    found: bytes === undefined ? 'more than 1 MiB' : isWide ? 'text in UTF-16' : text,
    hint: isWide
      ? 'Write the file as UTF-8; in PowerShell with: Set-Content -Encoding utf8, and set $OutputEncoding to UTF-8 for a pipe.'
      : PIPE,
  });
}

/**
 * Refuses options that cannot work before any request is sent or any file is changed. Otherwise each plugin would fail with
 * the same error, or the mistake would go unnoticed in a run that needs no request.
 * @throws OptionInvalid, OptionConflict, RegistryOptionsInvalid
 */
export async function checkOptions(
  flags: RegistryFlags,
  hasPasswordVariable: boolean,
  isTerminal: boolean,
): Promise<void> {
  const { platform, caFile, certFile, keyFile, certsDir, registryConfig } = flags;
  if (platform !== undefined) parsePlatform(platform);
  const files = {
    '--ca-file': caFile,
    '--cert-file': certFile,
    '--key-file': keyFile,
    '--certs-dir': certsDir,
    '--registry-config': registryConfig,
  };
  for (const [option, file] of Object.entries(files))
    if (file !== undefined)
      await access(file, constants.R_OK).catch((error: unknown) => {
        throw fileUnreadableError(option, file, error);
      });
  if (registryConfig !== undefined) await requireCredentialsFile(registryConfig);
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new OptionConflict('--cert-file and --key-file go together', {
      expected: 'both options, or neither',
      found: `only ${certFile === undefined ? '--key-file' : '--cert-file'}`,
      hint: 'Give both options.',
    });
  checkLogin(flags, hasPasswordVariable, isTerminal);
}

/** A user name needs a password, a password needs a user name, and there may be only one password. */
function checkLogin(
  { username, passwordStdin = false }: RegistryFlags,
  hasVariable: boolean,
  isTerminal: boolean,
): void {
  const where = passwordStdin ? '--password-stdin' : 'PLUGIN_MIRROR_PASSWORD';
  if (passwordStdin && hasVariable)
    throw new OptionConflict('--password-stdin and PLUGIN_MIRROR_PASSWORD both give a password', {
      expected: 'one password',
      found: 'two',
      hint: 'Leave out --password-stdin, or unset PLUGIN_MIRROR_PASSWORD.',
    });
  if (username === undefined && (passwordStdin || hasVariable))
    throw new OptionConflict(`${where} needs a user name`, {
      subject: where,
      expected: '--username or PLUGIN_MIRROR_USERNAME',
      found: 'neither',
      hint: `Give the user name with --username, or leave out ${where}: the logins of docker and podman are used without it.`,
    });
  if (username === undefined) return;
  if (!passwordStdin && !hasVariable)
    throw new OptionConflict('--username needs a password', {
      subject: '--username',
      expected: '--password-stdin or PLUGIN_MIRROR_PASSWORD',
      found: 'neither',
      hint: PIPE,
    });
  if (username === '' || username.includes(':'))
    throw new OptionInvalid('--username has a name that cannot be sent', {
      subject: '--username',
      expected: 'a name without a colon (RFC 7617)',
      found: username === '' ? 'an empty name' : 'a name with a colon',
      hint: 'Give only the name. The password is read with --password-stdin or from PLUGIN_MIRROR_PASSWORD.',
    });
  if (passwordStdin && isTerminal)
    throw new OptionInvalid('--password-stdin does not read from a terminal, which would show the password', {
      subject: '--password-stdin',
      expected: 'a file or a pipe',
      found: 'a terminal',
      hint: PIPE,
    });
}

/** Throws if the file of --registry-config is not a credentials file, even if no registry will ask for a login. @throws OptionInvalid */
export async function requireCredentialsFile(file: string): Promise<void> {
  try {
    await readCredentialsFile(file, true);
  } catch (error) {
    if (!(error instanceof RegistryCredentials)) throw error;
    const { message, expected, found, hint } = error;
    throw new OptionInvalid(`${message}${await positionOfFault(file)}`, {
      subject: '--registry-config',
      hint,
      ...(expected === undefined ? {} : { expected }),
      ...(found === undefined ? {} : { found }),
    });
  }
}

/**
 * Returns a warning for each broken credentials file of docker or podman, and for a broken DOCKER_AUTH_CONFIG. A run ignores
 * them. `withFiles` is false where --registry-config takes the place of the files.
 */
export async function warningsOfUsualFiles(
  env: Readonly<Record<string, string | undefined>>,
  withFiles = true,
): Promise<string[]> {
  const broken = await brokenDefaultFiles(env, withFiles);
  return Promise.all(
    broken.map(
      async ({ message, subject = '', hint }) =>
        `warning: ${message}${await positionOfFault(subject)}; it is ignored. ${hint}`,
    ),
  );
}

/** Returns `: line 3, column 5`, where the JSON is broken, and nothing of the text, which holds passwords. */
async function positionOfFault(file: string): Promise<string> {
  const bytes = await readBoundedFile(file, MOST_CREDENTIALS_BYTES).catch(() => undefined);
  const text = (bytes?.toString('utf8') ?? '').replace(/^\ufeff/, '');
  if (text.trim() === '' || isUtf16(Buffer.from(text)) || isJson(text)) return '';
  const { parseStrictJson } = await import('../../mirror/json/strictJson.ts');
  const [first] = (await parseStrictJson(text)).problems;
  return first?.line === undefined ? '' : `: line ${first.line}, column ${first.column}`;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
