import process from 'node:process';
import pc from 'picocolors';
import { plural } from '../mirror/document/problem.ts';
import { compareTree } from '../mirror/lock/compareTree.ts';
import { type AuditFinding, auditTree, type TreeAudit } from '../tree/auditTree.ts';
import { wantsColor } from './colors.ts';
import { EXIT } from './exit.ts';
import { formatBytes } from './format.ts';

export interface VerifyFlags {
  readonly tree: string;
  readonly lock?: string;
  readonly format: 'text' | 'json';
}

/** `plugin-mirror verify`, once its arguments are read; answers the exit code. */
export async function runVerify({ tree, lock, format }: VerifyFlags, signal: AbortSignal): Promise<number> {
  const audit = await auditTree(tree, { signal });
  const disagreements = lock === undefined ? [] : await compareTree(tree, lock);
  if (format === 'json')
    process.stdout.write(`${JSON.stringify({ schemaVersion: 1, ...audit, disagreements }, null, 2)}\n`);
  else process.stdout.write(render(audit, disagreements, wantsColor(process.stdout)));
  if (!audit.sound) return EXIT.failed;
  return audit.unknown.length + disagreements.length > 0 ? EXIT.drift : EXIT.good;
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
  const remedies = [
    ...(audit.sound ? [] : ['plugin-mirror sync fetches anew what is damaged or missing.']),
    ...(audit.unknown.length === 0
      ? []
      : ['What is unknown is never touched by plugin-mirror: move it out of the tree.']),
    ...(disagreements.length === 0 ? [] : ['plugin-mirror sync --frozen --prune makes the tree what the lock says.']),
  ].map(words => `  ${paint.cyan('→')} ${words}`);
  return `${[...lines, `${paint.red('✗')} ${plural(lines.length, 'finding')} in ${figures}`, ...remedies].join('\n')}\n`;
}
