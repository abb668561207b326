import pc from 'picocolors';
import {
  type Diagnosis,
  type HostEntry,
  NOT_TRIED,
  type Step,
  type TargetDiagnosis,
} from '../../registry/doctor/diagnose.ts';
import { formatReference } from '../../registry/reference.ts';

/** Whether the engine of --engine is installed. */
export interface EngineFinding {
  readonly name: string;
  readonly status: 'ok' | 'failed';
  readonly found: string;
  readonly hint?: string;
}

type Paint = ReturnType<typeof pc.createColors>;

/** Formats a diagnosis: the steps to each target, then the hosts that a firewall must allow. */
export function renderDiagnosis(
  { targets, hosts, engine }: Diagnosis & { readonly engine?: EngineFinding },
  color: boolean,
): string {
  const paint = pc.createColors(color);
  const failed = targets.filter(({ steps }) => steps.some(it => it.status === 'failed'));
  const bad = failed.length + (engine?.status === 'failed' ? 1 : 0);
  const verdict = bad === 0 ? `${paint.green('✓')} every step works` : verdictOf(failed, engine, paint);
  return `${[
    ...(engine === undefined ? [] : [...stepLines({ ...engine, step: 'engine' }, paint), '']),
    ...targets.flatMap(target => [...targetLines(target, paint), '']),
    ...hostLines(hosts, paint),
    '',
    verdict,
  ].join('\n')}\n`;
}

function verdictOf(failed: readonly TargetDiagnosis[], engine: EngineFinding | undefined, paint: Paint): string {
  const targets = failed.map(
    ({ registry, steps }) => `${registry} (${steps.find(it => it.status === 'failed')?.step})`,
  );
  return `${paint.red('✗')} failed: ${[...(engine?.status === 'failed' ? [engine.name] : []), ...targets].join(', ')}`;
}

function targetLines({ role, registry, reference, steps }: TargetDiagnosis, paint: Paint): string[] {
  const image = reference === undefined ? '' : `  ${paint.dim(formatReference(reference))}`;
  const untried = steps.filter(({ found }) => found === NOT_TRIED);
  const then = untried.length === 0 ? [] : [paint.dim(`  - not tried: ${untried.map(({ step }) => step).join(', ')}`)];
  const lines = steps.filter(step => !untried.includes(step)).flatMap(step => stepLines(step, paint));
  return [`${paint.bold(`${role} ${registry}`)}${image}`, ...lines, ...then];
}

function stepLines(
  { step, status, found, hint }: Omit<Step, 'step'> & { readonly step: string },
  paint: Paint,
): string[] {
  const mark = status === 'ok' ? paint.green('✓') : status === 'failed' ? paint.red('✗') : paint.dim('-');
  const text = status === 'skipped' ? paint.dim(found) : found;
  return [
    `  ${mark} ${step.padEnd(9)} ${text}`,
    ...(hint === undefined ? [] : [`    ${' '.repeat(9)} ${paint.cyan('→')} ${hint}`]),
  ];
}

function hostLines(hosts: readonly HostEntry[], paint: Paint): string[] {
  const direct = hosts.filter(({ through }) => through === undefined);
  const behind = hosts.filter(({ through }) => through !== undefined);
  const head = ['Host and port', 'For', 'Answered'];
  const rows = (list: readonly HostEntry[]): string[][] =>
    list.map(({ host, port, purposes, answered, refused }) => [
      `${host.includes(':') ? `[${host}]` : host}:${port}`,
      purposes.join(', '),
      answered ? (refused ? 'yes, refused' : 'yes') : 'no',
    ]);
  return [
    ...(direct.length === 0
      ? []
      : ['A firewall must allow connections from this machine to', ...table([head, ...rows(direct)], paint)]),
    ...(behind.length === 0
      ? []
      : [
          `A firewall must allow connections from the proxy ${behind[0]?.through} to`,
          ...table([head, ...rows(behind)], paint),
        ]),
    ...(hosts.every(({ answered }) => answered)
      ? []
      : [
          paint.dim(
            '  A host that did not answer may refer to others (a token server, blob storage). Fix it, then run this again.',
          ),
        ]),
  ];
}

function table(cells: readonly (readonly string[])[], paint: Paint): string[] {
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map(row => row[column]?.length ?? 0)));
  return cells.map((row, index) => {
    const line = row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ');
    return `  ${index === 0 ? paint.underline(line) : line.trimEnd()}`;
  });
}
