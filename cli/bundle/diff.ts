import process from 'node:process';
import pc from 'picocolors';
import { printable, printableValue } from '../../base/printable.ts';
import { formatBytes, plural } from '../../base/words.ts';
import { type BundleDiff, type DiffRow, diffBundles } from '../../mirror/bundle/diffBundles.ts';
import { EXIT } from '../exit.ts';
import type { BundleDiffFlags } from '../options/tables.ts';
import { printJson, printText, wantsColor } from '../render/print.ts';

/** Runs `plugin-mirror bundle diff`. Returns the exit code. */
export async function runBundleDiff(old: string, newer: string, flags: BundleDiffFlags): Promise<number> {
  const diff = await diffBundles(old, newer);
  if (flags.format === 'json') printJson({ schemaVersion: 1, ...diff });
  else printText(diffText(printableValue(diff), wantsColor(process.stdout)));
  const differs = diff.added.length + diff.changed.length + diff.removed.length > 0;
  return flags.exitCode === true && differs ? EXIT.drift : EXIT.good;
}

function diffText(diff: BundleDiff, color: boolean): string {
  const paint = pc.createColors(color);
  const { added, changed, removed, lacking, unchanged, blobs, referrers = 0 } = diff;
  const short = (digest = ''): string => digest.slice(0, 'sha256:'.length + 12);
  const subject = ({ name, version, aliasOf }: DiffRow): string =>
    `${name} ${version}${aliasOf === undefined ? '' : ` = ${aliasOf}`}`;
  const rows = (word: string, of: readonly DiffRow[]): string[] =>
    of.map(row => `${word.padEnd(8)} ${subject(row)}  ${row.from ?? ''}`.trimEnd());
  const lines = [
    ...rows('added', added),
    ...changed.map(row => `${'changed'.padEnd(8)} ${subject(row)}  ${short(row.oldDigest)} → ${short(row.digest)}`),
    ...rows('removed', removed),
    ...lacking.map(row => `${paint.red('lacking'.padEnd(8))} ${subject(row)}  is missing from both`),
  ];
  const figures = [
    `${added.length} added`,
    `${changed.length} changed`,
    `${removed.length} removed`,
    `${unchanged} unchanged`,
    ...(referrers === 0 ? [] : [plural(referrers, 'new referrer')]),
    ...(blobs === undefined ? [] : [`${formatBytes(blobs.sizeBytes)} in ${plural(blobs.count, 'new blob')}`]),
  ].join(' · ');
  const isFit = lacking.length === 0;
  const remedy = isFit
    ? ''
    : `  ${paint.cyan('→')} The newer bundle is a delta of another base: load that base first, or use a whole bundle.\n`;
  const mark = isFit ? paint.green('✓') : paint.red('✗');
  return `${[...lines, `${mark} ${printable(diff.old)} → ${printable(diff.new)}: ${figures}`].join('\n')}\n${remedy}`;
}
