import { readFile } from 'node:fs/promises';
import { isUtf16 } from '../../base/utf16.ts';
import { brokenDefaultFiles, readCredentialsFile } from '../../registry/credentials/credentialsSource.ts';
import { RegistryCredentials } from '../../registry/errors.ts';
import { OptionInvalid } from './errors.ts';

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
  const text = (await readFile(file, 'utf8').catch(() => '')).replace(/^\ufeff/, '');
  if (text.trim() === '' || isUtf16(Buffer.from(text)) || isJson(text)) return '';
  const { parseStrictJson } = await import('../../mirror/json/strictJson.ts');
  const [first] = parseStrictJson(text).problems;
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
