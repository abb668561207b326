import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import pc from 'picocolors';
import { printableValue } from '../../base/printable.ts';
import { formatBytes, plural } from '../../base/words.ts';
import type { BundleAudit, BundleFinding } from '../../mirror/bundle/auditBundle.ts';
import { compareTree } from '../../mirror/lockfile/compareTree.ts';
import { auditTree, type TreeAudit } from '../../tree/auditTree.ts';
import { CATALOG_FILE } from '../../tree/names.ts';
import { EXIT } from '../exit.ts';
import { OptionConflict, OptionInvalid } from '../options/errors.ts';
import type { VerifyFlags } from '../options/tables.ts';
import { startCounter } from '../render/counter.ts';
import { printJson, printText, wantsColor } from '../render/print.ts';
import { listed } from '../render/text.ts';

type Paint = ReturnType<typeof pc.createColors>;

/** Runs `plugin-mirror verify`. Returns the exit code. */
export async function runVerify({ tree, lock, format }: VerifyFlags, signal: AbortSignal): Promise<number> {
  const counter = startCounter('verifying', 'files');
  const audit = await auditTree(tree, { signal, onChecked: counter.count }).finally(counter.stop);
  const disagreements = lock === undefined ? [] : await compareTree(tree, lock);
  const isIntact = audit.sound;
  const sound = isIntact && audit.unknown.length + disagreements.length === 0;
  if (format === 'json') printJson({ schemaVersion: 1, ...audit, disagreements, sound });
  else printText(renderTree(printableValue(audit), printableValue(disagreements), wantsColor(process.stdout)));
  if (!isIntact) return EXIT.failed;
  return sound ? EXIT.good : EXIT.drift;
}

/** Returns a line for each finding: its kind, and what it is about. */
function linesOf(kind: string, findings: readonly string[], paint: Paint): string[] {
  return findings.map(text => `${paint.yellow(kind.padEnd(8))} ${text}`);
}

function renderTree(audit: TreeAudit, disagreements: readonly string[], color: boolean): string {
  const paint = pc.createColors(color);
  const lines = [
    ...(['damaged', 'missing', 'unknown'] as const).flatMap(kind =>
      linesOf(
        kind,
        audit[kind].map(({ path, problem }) => `${path} ${problem}`),
        paint,
      ),
    ),
    ...linesOf('lockfile', disagreements, paint),
  ];
  const figures = `${plural(audit.versions, 'version')}, ${plural(audit.files, 'file')}, ${formatBytes(audit.sizeBytes)}`;
  if (lines.length === 0) return `${paint.green('✓')} intact: ${figures}, ${audit.tree}\n`;
  const remedies = remediesFor(audit, disagreements.length > 0).map(remedy => `  ${paint.cyan('→')} ${remedy}`);
  return `${[...lines, `${paint.red('✗')} ${plural(lines.length, 'finding')} in ${figures}`, ...remedies].join('\n')}\n`;
}

function remediesFor({ damaged, missing, unknown }: TreeAudit, lockDiffers: boolean): string[] {
  const foreign = damaged.filter(it => it.foreign).map(({ path }) => path);
  const canBeFetched = missing.length > 0 || damaged.some(it => !it.foreign && !it.unreadable);
  const remedies: readonly [boolean, string][] = [
    [
      foreign.length > 0,
      `sync does not replace files that it did not publish: move ${listed(foreign)} away by hand, then run plugin-mirror sync.`,
    ],
    [
      damaged.some(it => it.unreadable),
      'An unreadable file may be intact: give this user read permission, or verify as the user who published it.',
    ],
    [
      canBeFetched,
      'plugin-mirror sync fetches damaged and missing files again; sync --prune removes versions that the manifest does not name.',
    ],
    [unknown.length > 0, 'plugin-mirror never changes unknown files: move them out of the tree.'],
    [
      lockDiffers,
      'If the lockfile is right, run plugin-mirror sync --frozen to make the tree match it, and sync --prune to remove versions that the manifest does not name. If the lockfile was edited by hand, restore it from version control.',
    ],
  ];
  return remedies.filter(([applies]) => applies).map(([, remedy]) => remedy);
}

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
  const { auditBundle } = await import('../../mirror/bundle/auditBundle.ts');
  const counter = startCounter('verifying:', 'hashed', { show: formatBytes });
  const audit = await auditBundle(bundle, { signal, lock: flags.lock, onRead: counter.count }).finally(counter.stop);
  if (flags.format === 'json') printJson({ schemaVersion: 1, ...audit });
  else printText(renderBundle(printableValue(audit), wantsColor(process.stdout)));
  if (!audit.sound) return EXIT.failed;
  return audit.disagreements.length === 0 ? EXIT.good : EXIT.drift;
}

/** A bundle in a folder has an index.json too, of another form. */
async function isTree(path: string): Promise<boolean> {
  if (existsSync(join(path, 'oci-layout'))) return false;
  const text = await readFile(join(path, CATALOG_FILE), 'utf8').catch(() => '');
  return /^\s*\{[\s\S]*"plugins"\s*:\s*\[/.test(text);
}

const CHECKSUMS: Readonly<Record<BundleAudit['checksums'], string>> = {
  equal: 'the checksum file agrees',
  absent: 'there is no .sha256 file next to it, so only the blobs are proven, not index.json',
  different: 'the checksum file differs',
};

function renderBundle(audit: BundleAudit, color: boolean): string {
  const { bundle, versions, blobs, sizeBytes, inBase, checksums, damaged, missing, disagreements, sound } = audit;
  const paint = pc.createColors(color);
  const textOf = ({ subject, problem, images = [] }: BundleFinding): string =>
    `${subject} ${problem}${images.length === 0 ? '' : `  (${listed(images)})`}`;
  const lines = [
    ...linesOf('damaged', damaged.map(textOf), paint),
    ...linesOf('missing', missing.map(textOf), paint),
    ...linesOf('lockfile', disagreements, paint),
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
