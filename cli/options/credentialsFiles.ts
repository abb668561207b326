import { readFile } from 'node:fs/promises';
import { brokenUsualFiles, readCredentialsFile } from '../../registry/credentials/credentialsSource.ts';
import { RegistryCredentials } from '../../registry/errors.ts';
import { OptionInvalid } from './errors.ts';

/** Refuses a file that was named and is none of credentials, whether or not a registry will ask for any. @throws OptionInvalid */
export async function requireCredentialsFile(file: string): Promise<void> {
  try {
    await readCredentialsFile(file, true);
  } catch (error) {
    if (!(error instanceof RegistryCredentials)) throw error;
    const { message, expected, found, hint } = error;
    throw new OptionInvalid(`${message}${await placeOfFault(file)}`, {
      subject: '--registry-config',
      hint,
      ...(expected === undefined ? {} : { expected }),
      ...(found === undefined ? {} : { found }),
    });
  }
}

/** A line for each file that docker or podman left broken: it is passed over. */
export async function warningsOfUsualFiles(env: Readonly<Record<string, string | undefined>>): Promise<string[]> {
  const broken = await brokenUsualFiles(env);
  return Promise.all(
    broken.map(
      async ({ message, subject = '' }) => `warning: ${message}${await placeOfFault(subject)}; it is not used`,
    ),
  );
}

/** `, line 3, column 5` where it stops being JSON. Nothing of the text, which holds passwords. */
async function placeOfFault(file: string): Promise<string> {
  const text = (await readFile(file, 'utf8').catch(() => '')).replace(/^\ufeff/, '');
  if (text.trim() === '' || isJson(text)) return '';
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
