import { stat } from 'node:fs/promises';
import { openFolderLayout } from './folderLayout.ts';
import type { Layout } from './layout.ts';
import { openParts } from './partFiles.ts';
import { openTarLayout } from './tarLayout.ts';

/**
 * Opens an OCI image layout for reading.
 * @param path a folder, an uncompressed tar, any part of a split tar, or the `.sha256` file of one
 * @throws LayoutUnreadable, LayoutPartWrong, LayoutInvalid
 */
export async function openLayout(path: string): Promise<Layout> {
  const isFolder = await stat(path).then(
    info => info.isDirectory(),
    () => false,
  );
  if (isFolder) return openFolderLayout(path);
  const files = await openParts(path);
  try {
    return await openTarLayout(path, files);
  } catch (error) {
    const wrong = await files.findWrongParts().catch(() => undefined);
    await files.close();
    throw wrong ?? error;
  }
}
