/**
 * Returns the safe name under which a document is published, for the file name in its layer or archive: spec.yaml, icon.png,
 * README.md and its languages (README_EN.md, README.zh-CN.md). Undefined if the file is not a document.
 */
export function documentFile(name: string): string | undefined {
  const readme = /^readme((?:[._-][a-z0-9]{1,16}){0,3})\.(?:md|markdown)$/i.exec(name);
  if (readme) return `README${readme[1] ?? ''}.md`;
  if (/^spec\.ya?ml$/i.test(name)) return 'spec.yaml';
  return /^icon\.png$/i.test(name) ? 'icon.png' : undefined;
}

/** The most documents that are published for one image. */
export const MAX_DOCUMENTS = 20;

/** Returns the size limit of a document in bytes: 1 MiB for icon.png, 4 MiB for a text. */
export function documentLimitBytes(file: string): number {
  return file === 'icon.png' ? 1024 * 1024 : 4 * 1024 * 1024;
}

/** Returns why a document of this size is left out; undefined if it is not. */
export function sizeProblem(file: string, sizeBytes: number): string | undefined {
  const limit = documentLimitBytes(file);
  return sizeBytes > limit ? `it is larger than ${limit} bytes` : undefined;
}

/** Returns why a document with these bytes is left out; undefined if it is not. */
export function contentProblem(file: string, bytes: Buffer): string | undefined {
  return file === 'icon.png' && !bytes.subarray(0, 8).equals(PNG) ? 'it is not a PNG image' : undefined;
}

const PNG = Buffer.from('89504e470d0a1a0a', 'hex');
