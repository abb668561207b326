import { translator } from './site/words.ts';
import type { MissingReason } from './status/explainMissing.ts';

const MOST_CONSUMERS = 3;

/** The explanation of a 404 for scripts and gateways, as JSON. */
export interface NotFound {
  readonly message: string;
  readonly plugin?: string;
  /** All versions of that plugin. */
  readonly versions?: readonly string[];
  /** The existing version that is nearest to the requested one, and the URL of its file. */
  readonly nearestVersion?: string;
  readonly nearestUrl?: string;
  /** All files of that version. */
  readonly files?: readonly string[];
  /** Names that may have been meant, if no plugin was recognised. */
  readonly nearest?: readonly string[];
  /** How many plugins there are, if none was recognised and none is near; /plugins/ lists them. */
  readonly pluginCount?: number;
  /** The consumers that request the version: `Higress Console 2.2.5`. */
  readonly requestedBy?: readonly string[];
  /** The lines of manifest.json that add the version. */
  readonly manifestLines?: readonly string[];
}

const t = translator('en');

/**
 * @param plugins number of plugins in the tree
 * @param address of this server, as the client sees it
 */
export function plainReason(
  reason: MissingReason,
  { plugins, address }: { readonly plugins: number; readonly address: string },
): NotFound {
  const { nearestVersion, nearestPath } = reason;
  const { kind, name = '', version = '', nearest, versions, files, requestedBy, manifestLines } = reason;
  const counted = kind === 'path' || (kind === 'plugin' && nearest.length === 0);
  return {
    message: messageOf(kind, name, version),
    ...(nearestVersion === undefined ? {} : { nearestVersion }),
    ...(nearestPath === undefined ? {} : { nearestUrl: address + nearestPath }),
    ...(kind === 'version' || kind === 'file' ? { plugin: name, versions } : {}),
    ...(kind === 'file' ? { files } : {}),
    ...(nearest.length > 0 ? { nearest } : {}),
    ...(counted ? { pluginCount: plugins } : {}),
    ...(requestedBy.length > 0 ? { requestedBy } : {}),
    ...(manifestLines.length > 0 ? { manifestLines } : {}),
  };
}

function messageOf(kind: MissingReason['kind'], name: string, version: string): string {
  if (kind === 'placeholder') return t('whyPlaceholder');
  if (kind === 'plugin') return t('whyPlugin', { name });
  if (kind === 'version') return t('whyVersion', { name, version });
  if (kind === 'file') return t('whyFile', { name, version });
  return kind === 'served' ? t('whyServed') : t('whyPath');
}

/** @param offer the line before the URL that may be used instead */
export function notFoundText(found: NotFound, offer: string): string {
  const { message, nearestUrl, versions, files, nearest, pluginCount, requestedBy = [], manifestLines } = found;
  const lines = [message];
  if (nearestUrl !== undefined) lines.push(offer, `  ${nearestUrl}`);
  if (versions !== undefined) lines.push(`Versions: ${versions.join(', ')}`);
  if (files !== undefined) lines.push(`Files: ${files.join(', ')}`);
  if (nearest !== undefined) lines.push(`Did you mean ${nearest.join(', ')}?`);
  if (pluginCount !== undefined)
    lines.push(`There ${pluginCount === 1 ? 'is 1 plugin' : `are ${pluginCount} plugins`} here; /plugins/ lists them.`);
  const more = requestedBy.length - MOST_CONSUMERS;
  if (requestedBy.length > 0)
    lines.push(
      `Requested by ${requestedBy.slice(0, MOST_CONSUMERS).join(', ')}${more > 0 ? ` and ${more} more` : ''}.`,
    );
  if (manifestLines !== undefined) lines.push(t('manifestLines'), ...manifestLines.map(line => `  ${line}`));
  return `${lines.join('\n')}\n`;
}
