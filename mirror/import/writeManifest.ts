import { constants, copyFile, lstat, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PACKAGE_ROOT } from '../../base/packageRoot.ts';
import { replaceTextFile } from '../json/textFile.ts';
import type { WrittenManifest } from './collect.ts';
import { ManifestExists, ManifestUnwritable } from './errors.ts';

const lineWidth = 120;

type FormattedManifest = Omit<WrittenManifest, '$schema'> & Partial<Pick<WrittenManifest, '$schema'>>;

/** Formats a manifest, with one line per plugin where it fits. */
export function formatManifest(manifest: FormattedManifest): string {
  const { plugins, ...rest } = manifest;
  const head = Object.entries(rest).map(([key, value]) => `  ${JSON.stringify(key)}: ${JSON.stringify(value)},\n`);
  const lines = Object.entries(plugins).map(([name, plugin]) => {
    const key = `    ${JSON.stringify(name)}: `;
    const short = `${key}${onOneLine(plugin)}`;
    return short.length <= lineWidth ? short : `${key}${JSON.stringify(plugin, null, 2).replaceAll('\n', '\n    ')}`;
  });
  return `{\n${head.join('')}  "plugins": {\n${lines.join(',\n')}\n  }\n}\n`;
}

/** Formats JSON on one line, with spaces between members. */
export function onOneLine(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(onOneLine).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{ ${Object.entries(value)
    .map(([key, each]) => `${JSON.stringify(key)}: ${onOneLine(each)}`)
    .join(', ')} }`;
}

export interface WriteManifestOptions {
  /** Replace an existing manifest. Default false. */
  readonly force?: boolean;
}

/** Writes a manifest atomically. @throws ManifestExists, ManifestUnwritable */
export async function writeManifest(
  path: string,
  manifest: WrittenManifest,
  { force = false }: WriteManifestOptions = {},
): Promise<void> {
  if (!force && (await exists(path))) throw new ManifestExists(path);
  await replaceManifestText(path, formatManifest(await withSchema(path, manifest, { copy: true })));
}

/**
 * Returns the manifest without `$schema` if that would lead nowhere. `copy` puts the schema next to the manifest first, where there
 * is none.
 */
export async function withSchema(
  path: string,
  manifest: WrittenManifest,
  { copy = false } = {},
): Promise<FormattedManifest> {
  const schema = join(dirname(path), 'manifest.schema.json');
  if (copy)
    await copyFile(new URL('manifest.schema.json', PACKAGE_ROOT), schema, constants.COPYFILE_EXCL).catch(
      () => undefined,
    );
  if (await exists(schema)) return manifest;
  const { $schema: _, ...rest } = manifest;
  return rest;
}

/** Replaces the text of a manifest atomically. A symbolic link stays one. @throws ManifestUnwritable */
export async function replaceManifestText(path: string, text: string): Promise<void> {
  try {
    await replaceTextFile(await realpath(path).catch(() => path), text);
  } catch (error) {
    throw new ManifestUnwritable(path, error instanceof Error ? error.message : String(error), error);
  }
}

/** A broken symbolic link exists: writing through it would create a file in an unexpected folder. */
async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
