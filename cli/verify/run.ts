import process from 'node:process';
import pc from 'picocolors';
import { plural } from '../../mirror/json/problem.ts';
import { compareTree } from '../../mirror/lockfile/compareTree.ts';
import { type AuditFinding, auditTree, type TreeAudit } from '../../tree/auditTree.ts';
import { EXIT } from '../exit.ts';
import { wantsColor } from '../render/colors.ts';
import { listed } from '../render/failures.ts';
import { formatBytes } from '../render/format.ts';

export interface VerifyFlags {
  readonly tree: string;
  readonly lock?: string;
  readonly format: 'text' | 'json';
}

/** `plugin-mirror verify`, once its arguments are read; answers the exit code. */
export async function runVerify({ tree, lock, format }: VerifyFlags, signal: AbortSignal): Promise<number> {
  const audit = await auditTree(tree, { signal });
  const disagreements = lock === undefined ? [] : await compareTree(tree, lock);
  const isIntact = audit.sound;
  const sound = isIntact && audit.unknown.length + disagreements.length === 0;
  if (format === 'json')
    process.stdout.write(`${JSON.stringify({ schemaVersion: 1, ...audit, disagreements, sound }, null, 2)}\n`);
  else process.stdout.write(render(audit, disagreements, wantsColor(process.stdout)));
  if (!isIntact) return EXIT.failed;
  return sound ? EXIT.good : EXIT.drift;
}

function render(audit: TreeAudit, disagreements: readonly string[], color: boolean): string {
  const paint = pc.createColors(color);
  const told = (kind: string, findings: readonly AuditFinding[]) =>
    findings.map(({ path, problem }) => `${paint.yellow(kind.padEnd(8))} ${path} ${problem}`);
  const lines = [
    ...told('damaged', audit.damaged),
    ...told('missing', audit.missing),
    ...told('unknown', audit.unknown),
    ...disagreements.map(words => `${paint.yellow('lock'.padEnd(8))} ${words}`),
  ];
  const figures = `${plural(audit.versions, 'version')}, ${plural(audit.files, 'file')}, ${formatBytes(audit.sizeBytes)}`;
  if (lines.length === 0) return `${paint.green('✓')} sound: ${figures}, ${audit.tree}\n`;
  const foreign = audit.damaged.filter(it => it.foreign).map(({ path }) => path);
  const harmed = audit.missing.length > 0 || audit.damaged.some(it => !it.foreign && !it.unreadable);
  const remedies = [
    ...(foreign.length === 0
      ? []
      : [
          `sync leaves alone what it did not publish: move ${listed(foreign)} away by hand, then run plugin-mirror sync.`,
        ]),
    ...(audit.damaged.some(it => it.unreadable)
      ? [
          'What may not be read may be sound: give this user the right to read it, or verify as the user who published it.',
        ]
      : []),
    ...(harmed
      ? [
          'plugin-mirror sync fetches anew what is damaged or missing; what the manifest no longer names goes with sync --prune.',
        ]
      : []),
    ...(audit.unknown.length === 0
      ? []
      : ['What is unknown is never touched by plugin-mirror: move it out of the tree.']),
    ...(disagreements.length === 0
      ? []
      : [
          'If the lock is right, plugin-mirror sync --frozen makes the tree what it says, and plugin-mirror sync --prune removes what the manifest no longer names; if it was edited by hand, restore it from version control.',
        ]),
  ].map(words => `  ${paint.cyan('→')} ${words}`);
  return `${[...lines, `${paint.red('✗')} ${plural(lines.length, 'finding')} in ${figures}`, ...remedies].join('\n')}\n`;
}
