import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import pc from 'picocolors';
import { printableValue } from '../../base/printable.ts';
import { formatBytes, plural } from '../../base/words.ts';
import { auditBundle, type BundleAudit, type BundleFinding } from '../../mirror/bundle/auditBundle.ts';
import { CATALOG_FILE } from '../../tree/names.ts';
import { EXIT } from '../exit.ts';
import { OptionConflict, OptionInvalid } from '../options/errors.ts';
import type { VerifyFlags } from '../options/tables.ts';
import { wantsColor } from '../render/colors.ts';
import { startCounter } from '../render/counter.ts';
import { listed } from '../render/failures.ts';
import { printJson, printText } from '../render/print.ts';

interface VerifyBundleRun {
  readonly bundle: string;
  /** True if the command line names a tree as well. */
  readonly hasTree: boolean;
  readonly flags: VerifyFlags;
  readonly signal: AbortSignal;
}

/** Runs `plugin-mirror verify BUNDLE`. Returns the exit code. @throws OptionConflict, OptionInvalid */
export async function runVerifyBundle({ bundle, hasTree, flags, signal }: VerifyBundleRun): Promise<number> {
  if (hasTree)
    throw new OptionConflict('A bundle and --tree cannot be verified in one run', {
      expected: 'one of them',
      found: 'both',
      hint: 'Run plugin-mirror verify for each of them.',
    });
  if (await isTree(bundle))
    throw new OptionInvalid(`${bundle} is a tree, not a bundle`, {
      subject: bundle,
      expected: 'a bundle: a tar, its first part or .sha256 file, or a folder with oci-layout',
      found: 'a folder with the index.json of a tree',
      hint: `Write plugin-mirror verify --tree ${bundle}`,
    });
  const counter = startCounter('verifying:', 'hashed', { show: formatBytes });
  const audit = await auditBundle(bundle, { signal, lock: flags.lock, onRead: counter.count }).finally(counter.stop);
  if (flags.format === 'json') printJson({ schemaVersion: 1, ...audit });
  else printText(render(printableValue(audit), wantsColor(process.stdout)));
  if (!audit.sound) return EXIT.failed;
  return audit.disagreements.length === 0 ? EXIT.good : EXIT.drift;
}

/** A bundle in a folder has an index.json too, of another form. */
async function isTree(path: string): Promise<boolean> {
  if (await isThere(join(path, 'oci-layout'))) return false;
  const text = await readFile(join(path, CATALOG_FILE), 'utf8').catch(() => '');
  return /^\s*\{[\s\S]*"plugins"\s*:\s*\[/.test(text);
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

const CHECKSUMS: Readonly<Record<BundleAudit['checksums'], string>> = {
  equal: 'the checksum file agrees',
  absent: 'there is no .sha256 file next to it, so only the blobs are proven, not index.json',
  different: 'the checksum file differs',
};

function render(audit: BundleAudit, color: boolean): string {
  const { bundle, versions, blobs, sizeBytes, inBase, checksums, damaged, missing, disagreements, sound } = audit;
  const paint = pc.createColors(color);
  const linesOf = (kind: string, findings: readonly BundleFinding[]): string[] =>
    findings.map(({ subject, problem, images = [] }) => {
      const of = images.length === 0 ? '' : `  (${listed(images)})`;
      return `${paint.yellow(kind.padEnd(8))} ${subject} ${problem}${of}`;
    });
  const lines = [
    ...linesOf('damaged', damaged),
    ...linesOf('missing', missing),
    ...disagreements.map(difference => `${paint.yellow('lock'.padEnd(8))} ${difference}`),
  ];
  const figures = [
    versions === 0 ? 'no manifest of plugin-mirror' : plural(versions, 'version'),
    plural(blobs, 'blob'),
    formatBytes(sizeBytes),
    ...(inBase === 0 ? [] : [`a delta: ${plural(inBase, 'version')} must be in the tree already`]),
  ].join(', ');
  const head =
    lines.length === 0
      ? `${paint.green('✓')} intact: ${figures}, ${bundle}; ${CHECKSUMS[checksums]}`
      : `${paint.red('✗')} ${plural(lines.length, 'finding')} in ${figures}`;
  const remedy = sound ? [] : [`  ${paint.cyan('→')} Copy the bundle again; if it still differs, make it again.`];
  return `${[...lines, head, ...remedy].join('\n')}\n`;
}
