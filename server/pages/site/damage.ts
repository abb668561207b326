import { addTo } from '../../../base/groups.ts';
import type { Content } from '../../content/content.ts';
import type { Fault } from '../../events.ts';
import { type Html, html } from './html.ts';
import type { Translate, WordKey } from './words.ts';

/** A file that is missing or does not have the bytes that the catalog lists. */
export interface DamagedFile {
  /** Below the tree: `cors/2.0.4/plugin.wasm`. */
  readonly path: string;
  readonly fault: Fault;
  /** The answer to clients: 503, or the right bytes from another copy or from the file that is still open. */
  readonly served: 'nothing' | 'copy' | 'open file';
}

/** Returns the files that the last checks found damaged, by path. */
export function damagedFiles(contents: Iterable<Content>): DamagedFile[] {
  const damaged: DamagedFile[] = [];
  for (const { state, displaced, faults, paths } of contents) {
    const served = state !== 'proven' ? 'nothing' : displaced ? 'open file' : 'copy';
    for (const [path, { fault }] of faults) damaged.push({ path, fault, served });
    if (faults.size > 0 || (state !== 'damaged' && !displaced)) continue;
    for (const path of paths) damaged.push({ path, fault: displaced ? 'replaced' : 'altered', served });
  }
  return damaged.sort((one, other) => (one.path < other.path ? -1 : 1));
}

/** Damaged files of the versions of one plugin. */
export type DamagedVersions = ReadonlyMap<string, readonly DamagedFile[]>;

/** Returns the damaged files by plugin and version, without those of the tree itself. */
export function damageByPlugin(files: readonly DamagedFile[]): ReadonlyMap<string, DamagedVersions> {
  const plugins = new Map<string, Map<string, DamagedFile[]>>();
  for (const file of files) {
    const [name = '', version, inVersion] = file.path.split('/');
    if (version === undefined || inVersion === undefined) continue;
    const versions = plugins.get(name) ?? new Map<string, DamagedFile[]>();
    addTo(versions, version, file);
    plugins.set(name, versions);
  }
  return plugins;
}

/**
 * Returns a tag that names the damaged versions of a plugin, with the reason of the first as its title. In the row of a version,
 * which `isRow` is for, it names none.
 */
export function damageTag(t: Translate, versions: DamagedVersions | undefined, isRow = false): Html | false {
  if (versions === undefined || versions.size === 0) return false;
  const names = [...versions.keys()];
  const shown = names.slice(0, MOST_VERSIONS).join(', ');
  const more = names.length > MOST_VERSIONS ? ` +${names.length - MOST_VERSIONS}` : '';
  const files = [...versions.values()].flat();
  const [first] = files;
  const title = first === undefined ? '' : `${first.path}: ${faultText(t, first.fault)}`;
  return html`<span class="tag ${colorOf(files)}" title="${title}">${isRow ? t('damagedRow') : t('damagedVersions', { versions: shown + more })}</span>`;
}

const MOST_VERSIONS = 3;

/** Returns which files of a version are damaged, why, what clients get, and what to do. */
export function damageNote(t: Translate, files: readonly DamagedFile[] | undefined): Html | false {
  if (files === undefined || files.length === 0) return false;
  const rows = files.map(
    ({ path, fault, served }) =>
      html`<li><code>${path}</code>: ${faultText(t, fault)}. ${t('clientsGet')}: ${servedText(t, served)}</li>`,
  );
  const fixes = [...new Set(files.map(({ fault }) => FIXES[fault]))].map(fix => html`<p>${t(fix)}</p>`);
  return html`<div class="note ${colorOf(files)}" role="alert"><b>${t('damagedTitle')}</b><ul>${rows}</ul>${fixes}</div>`;
}

function colorOf(files: readonly DamagedFile[]): 'bad' | 'warn' {
  return files.some(({ served }) => served === 'nothing') ? 'bad' : 'warn';
}

export function faultText(t: Translate, fault: Fault): string {
  return t(FAULTS[fault]);
}

export function servedText(t: Translate, served: DamagedFile['served']): string {
  return t(SERVED[served]);
}

const FAULTS: Readonly<Record<Fault, WordKey>> = {
  gone: 'faultGone',
  forbidden: 'faultForbidden',
  'no-file': 'faultNoFile',
  replaced: 'faultReplaced',
  altered: 'faultAltered',
  unreadable: 'faultUnreadable',
};

const FIXES: Readonly<Record<Fault, WordKey>> = {
  gone: 'damagedHint',
  forbidden: 'fixForbidden',
  'no-file': 'fixNoFile',
  replaced: 'damagedHint',
  altered: 'damagedHint',
  unreadable: 'fixUnreadable',
};

const SERVED: Readonly<Record<DamagedFile['served'], WordKey>> = {
  nothing: 'servedNothing',
  copy: 'servedCopy',
  'open file': 'servedOpen',
};
