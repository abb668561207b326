import { createHash } from 'node:crypto';

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, character => ESCAPES[character] ?? character);
}

/** Returns a size such as `4.1 MB`, in decimal units, as file managers and registries do. */
export function humanSize(sizeBytes: number): string {
  let size = sizeBytes;
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    if (size < 1000 || unit === 'GB') return unit === 'B' ? `${size} B` : `${size.toFixed(size < 10 ? 1 : 0)} ${unit}`;
    size /= 1000;
  }
  return `${sizeBytes} B`;
}

export interface Page {
  readonly title: string;
  readonly style: string;
  readonly body: string;
}

/** Returns an HTML document that loads nothing from other places. */
export function renderPage({ title, style, body }: Page): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
<body>
${body}
</body>
</html>
`;
}

/** Returns a policy that allows only this style sheet, by its hash, and the empty icon, which keeps browsers from requesting one. */
export function contentSecurityPolicy(style: string): string {
  const hash = createHash('sha256').update(style).digest('base64');
  return `default-src 'none'; style-src 'sha256-${hash}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
}
