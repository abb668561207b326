import process from 'node:process';
import { type Command, Option } from 'commander';
import type { RegistryOptions } from '../../registry/registry.ts';
import { hosts, path, seconds, wholeNumber } from './environment.ts';
import type { RegistryFlags } from './registryFlags.ts';

const MEBIBYTE = 1024 * 1024;

export function addRegistryOptions(command: Command): Command {
  const options = [
    new Option('--registry <host[/prefix]>', 'take every image from here, whatever registry the manifest names').env(
      'PLUGIN_MIRROR_REGISTRY',
    ),
    new Option('--engine <name>', 'who speaks to the registry: our own client, or the ORAS CLI')
      .env('PLUGIN_MIRROR_ENGINE')
      .choices(['builtin', 'oras'])
      .default('builtin'),
    new Option('--concurrency <n>', 'blobs that travel at once')
      .env('PLUGIN_MIRROR_CONCURRENCY')
      .argParser(wholeNumber(1, 64))
      .default(8),
    new Option(
      '--plain-http [host...]',
      'speak http instead of https, to these hosts or to all (to loopback it is tried anyway)',
    )
      .env('PLUGIN_MIRROR_PLAIN_HTTP')
      .argParser(hosts),
    new Option(
      '--insecure [host...]',
      'accept any TLS certificate, of these hosts or of all: anyone on the path can then answer for them',
    )
      .env('PLUGIN_MIRROR_INSECURE')
      .argParser(hosts),
    new Option('--ca-file <file>', 'PEM file with further certificate authorities')
      .env('PLUGIN_MIRROR_CA_FILE')
      .argParser(path),
    new Option('--cert-file <file>', 'PEM file with a client certificate')
      .env('PLUGIN_MIRROR_CERT_FILE')
      .argParser(path),
    new Option('--key-file <file>', "PEM file with the client certificate's key")
      .env('PLUGIN_MIRROR_KEY_FILE')
      .argParser(path),
    new Option(
      '--certs-dir <dir>',
      "docker's folder of certificates, HOST:PORT/{*.crt,*.cert,*.key} (default: /etc/docker/certs.d)",
    )
      .env('PLUGIN_MIRROR_CERTS_DIR')
      .argParser(path),
    new Option('--registry-config <file>', "docker's config.json or podman's auth.json (default: where they keep it)")
      .env('PLUGIN_MIRROR_REGISTRY_CONFIG')
      .argParser(path),
    new Option(
      '--username <name>',
      "user name for the host of --registry, else of the manifest's own registry; needs --password-stdin or PLUGIN_MIRROR_PASSWORD",
    ).env('PLUGIN_MIRROR_USERNAME'),
    new Option('--password-stdin', 'read the password from standard input'),
    new Option('--platform <os/arch>', 'which image of an index; plugins rarely need it').env('PLUGIN_MIRROR_PLATFORM'),
    new Option(
      '--timeout <seconds>',
      'give a connection up when nothing comes for so long; a blob of which less than 1 KiB came is asked for once more on a new one',
    )
      .env('PLUGIN_MIRROR_TIMEOUT')
      .argParser(seconds(0.1, 3600))
      .default(30_000, '30'),
    new Option(
      '--retries <n>',
      'further attempts for each request that failed; a blob of which 64 KiB or a hundredth came is counted anew',
    )
      .env('PLUGIN_MIRROR_RETRIES')
      .argParser(wholeNumber(0, 100))
      .default(5),
    new Option('--cache-dir <dir>', 'where blobs and parts of blobs are kept between runs')
      .env('PLUGIN_MIRROR_CACHE_DIR')
      .argParser(path),
    new Option('--cache-size <MiB>', 'how much of them is kept; 0 keeps none')
      .env('PLUGIN_MIRROR_CACHE_SIZE')
      .argParser(wholeNumber(0, 1_048_576))
      .default(2048),
  ];
  for (const option of options) command.addOption(option);
  return command;
}

/** Returns the options of a registry for these flags. Reads the password from standard input or the environment. @throws the errors of checkOptions */
export async function registryOptions(flags: RegistryFlags, cacheDir: string): Promise<RegistryOptions> {
  const { checkOptions } = await import('./checkOptions.ts');
  // The password may come from a file, through a Kubernetes Secret, and then ends with a newline.
  const fromEnvironment = process.env.PLUGIN_MIRROR_PASSWORD?.replace(/\r?\n$/, '') || undefined;
  await checkOptions(flags, fromEnvironment !== undefined, process.stdin.isTTY === true);
  if (flags.registryConfig === undefined) await warnOfUsualFiles();
  const password = flags.passwordStdin ? await readPassword() : fromEnvironment;
  const { engine, concurrency, plainHttp, insecure, caFile, certFile, keyFile, certsDir, registryConfig } = flags;
  const { username, platform } = flags;
  const trust = { plainHttp, insecure, caFile, certFile, keyFile, certsDir };
  const given = { ...trust, registryConfig, username, platform, password };
  return {
    engine,
    concurrency,
    timeoutMs: flags.timeout,
    retries: flags.retries,
    env: process.env,
    ...(flags.cacheSize === 0 ? {} : { cacheDir, cacheSizeBytes: flags.cacheSize * MEBIBYTE }),
    ...(Object.fromEntries(
      Object.entries(given).filter(([, value]) => value !== undefined),
    ) as Partial<RegistryOptions>),
  };
}

async function warnOfUsualFiles(): Promise<void> {
  const { warningsOfUsualFiles } = await import('./credentialsFiles.ts');
  for (const warning of await warningsOfUsualFiles(process.env)) process.stderr.write(`${warning}\n`);
}

/** Reads the password from standard input, without the newline that `echo` adds. @throws OptionInvalid */
async function readPassword(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk;
  const password = text.replace(/\r?\n$/, '');
  if (password !== '' && !/[\r\n\0]/.test(password)) return password;
  const { OptionInvalid } = await import('./errors.ts');
  throw new OptionInvalid('Standard input contains no password', {
    subject: '--password-stdin',
    expected: 'one line: the password',
    found: password === '' ? 'nothing' : 'more than one line',
    hint: 'Read the password from a file or a pipe: plugin-mirror … --username NAME --password-stdin < FILE',
  });
}
