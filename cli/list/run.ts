import { printableValue } from '../../base/printable.ts';
import { formatBytes, plural } from '../../base/words.ts';
import { openBundled } from '../../mirror/bundle/bundledModules.ts';
import { readServedManifest, readServedTree } from '../../mirror/coverage/readServed.ts';
import { type ListRow, listRows, type Served } from '../../mirror/coverage/served.ts';
import { EXIT } from '../exit.ts';
import { OptionConflict } from '../options/errors.ts';
import { printJson, printText } from '../render/print.ts';
import { table } from '../render/text.ts';

interface ListFlags {
  readonly tree: string;
  readonly manifest: string | undefined;
  readonly bundle: string | undefined;
  readonly lock: string | undefined;
  readonly format: 'text' | 'json';
}

/** `plugin-mirror list`. @throws OptionConflict, and the refusals of what is listed */
export async function runList(flags: ListFlags): Promise<number> {
  const { format } = flags;
  const served = await openListed(flags);
  const plugins = listRows(served);
  const json = { schemaVersion: 1, from: served.name, plugins };
  if (format === 'json') printJson(json);
  else printText(render(printableValue(plugins)));
  return EXIT.good;
}

function openListed({ tree, manifest, bundle, lock }: ListFlags): Promise<Served> {
  if (bundle === undefined) return manifest === undefined ? readServedTree(tree) : readServedManifest(manifest, lock);
  if (manifest === undefined) return openBundled(bundle);
  throw new OptionConflict('--manifest and --bundle cannot be listed in one run', {
    expected: 'one of them',
    found: 'both',
    hint: 'Leave one of them out.',
  });
}

const HEAD = ['PLUGIN', 'VERSION', 'ALIASES', 'SIZE', 'SHA256', 'FROM'];

/** A table with a line for each version, and the totals below it. */
function render(rows: readonly ListRow[]): string {
  const cells = [
    HEAD,
    ...rows.map(({ name, version, aliases, sizeBytes, sha256, from }) => [
      name,
      version,
      aliases.join(', '),
      sizeBytes === undefined ? '' : formatBytes(sizeBytes),
      sha256?.slice(0, 12) ?? '',
      from ?? '',
    ]),
  ];
  const plugins = plural(new Set(rows.map(({ name }) => name)).size, 'plugin');
  const bytes = rows.reduce((sum, { sizeBytes = 0 }) => sum + sizeBytes, 0);
  const size = bytes === 0 ? '' : `, ${formatBytes(bytes)}`;
  return `${table(cells).join('\n')}\n${plugins}, ${plural(rows.length, 'version')}${size}\n`;
}
