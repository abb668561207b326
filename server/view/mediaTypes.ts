const TYPES: Readonly<Record<string, string>> = {
  wasm: 'application/wasm',
  json: 'application/json',
  txt: 'text/plain; charset=utf-8',
  sha256: 'text/plain; charset=utf-8',
  md: 'text/markdown; charset=utf-8',
  yaml: 'application/yaml; charset=utf-8',
  yml: 'application/yaml; charset=utf-8',
  png: 'image/png',
  gz: 'application/gzip',
  zst: 'application/zstd',
};

/** By the end of the name. What is not known is bytes: nothing that a browser would run (HTML, SVG) is named here. */
export function mediaTypeOf(fileName: string): string {
  return TYPES[fileName.slice(fileName.lastIndexOf('.') + 1).toLowerCase()] ?? 'application/octet-stream';
}
