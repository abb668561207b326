import process from 'node:process';
import pc from 'picocolors';
import { printableValue } from '../../base/printable.ts';
import { formatBytes, plural } from '../../base/words.ts';
import { compareTree } from '../../mirror/lockfile/compareTree.ts';
import { type AuditFinding, auditTree, type TreeAudit } from '../../tree/auditTree.ts';
import { EXIT } from '../exit.ts';
import type { VerifyFlags } from '../options/tables.ts';
import { wantsColor } from '../render/colors.ts';
import { startCounter } from '../render/counter.ts';
import { listed } from '../render/failures.ts';
import { printJson, printText } from '../render/print.ts';

/** Runs `plugin-mirror verify`. Returns the exit code. */
export async function runVerify({ tree, lock, format }: VerifyFlags, signal: AbortSignal): Promise<number> {
  const counter = startCounter('verifying', 'files');
  const audit = await auditTree(tree, { signal, onChecked: counter.count }).finally(counter.stop);
  const disagreements = lock === undefined ? [] : await compareTree(tree, lock);
  const isIntact = audit.sound;
  const sound = isIntact && audit.unknown.length + disagreements.length === 0;
  if (format === 'json') printJson({ schemaVersion: 1, ...audit, disagreements, sound });
  else printText(render(printableValue(audit), printableValue(disagreements), wantsColor(process.stdout)));
  if (!isIntact) return EXIT.failed;
  return sound ? EXIT.good : EXIT.drift;
}

function render(audit: TreeAudit, disagreements: readonly string[], color: boolean): string {
  const paint = pc.createColors(color);
  const linesOf = (kind: string, findings: readonly AuditFinding[]) =>
    findings.map(({ path, problem }) => `${paint.yellow(kind.padEnd(8))} ${path} ${problem}`);
  const lines = [
    ...linesOf('damaged', audit.damaged),
    ...linesOf('missing', audit.missing),
    ...linesOf('unknown', audit.unknown),
    ...disagreements.map(difference => `${paint.yellow('lock'.padEnd(8))} ${difference}`),
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
      'If the lock is right, run plugin-mirror sync --frozen to make the tree match it, and sync --prune to remove versions that the manifest does not name. If the lock was edited by hand, restore it from version control.',
    ],
  ];
  return remedies.filter(([applies]) => applies).map(([, remedy]) => remedy);
}
