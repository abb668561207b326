import process from 'node:process';
import pc from 'picocolors';
import { printableValue } from '../../base/printable.ts';
import { Refusal } from '../../base/refusal.ts';
import { type PluginManifest, readPluginManifest, withRegistry } from '../../mirror/manifest/readManifest.ts';
import {
  type Diagnosis,
  type DoctorTarget,
  diagnose,
  type HostEntry,
  NOT_TRIED,
  readOrasVersion,
  type Step,
  type TargetDiagnosis,
} from '../../registry/doctor/diagnose.ts';
import { formatReference, isRegistry, parseReference, type Reference } from '../../registry/reference.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { EXIT } from '../exit.ts';
import type { DoctorFlags } from '../options/tables.ts';
import { printJson, printText, wantsColor, warningPrinter } from '../render/print.ts';
import { table } from '../render/text.ts';
import type { RegistryRun } from '../runCommand.ts';

export interface DoctorRun extends RegistryRun {
  readonly ref: string | undefined;
  readonly flags: DoctorFlags;
}

/** Runs `plugin-mirror doctor`. Returns the exit code. */
export async function runDoctor(run: DoctorRun): Promise<number> {
  const report = await examine(run);
  if (run.flags.format === 'json') printJson(report);
  else printText(renderDiagnosis(printableValue(report), wantsColor(process.stdout)));
  return report.good ? EXIT.good : EXIT.failed;
}

/** The output of `--format json`. */
export interface DoctorReport extends Diagnosis {
  readonly schemaVersion: 1;
  /** No step failed. */
  readonly good: boolean;
  /** Only with --engine oras. */
  readonly engine?: EngineFinding;
}

/** Tests every step to every target. @throws the errors of reading the manifest or the reference */
export async function examine({ ref, flags, registryOptions, signal }: DoctorRun): Promise<DoctorReport> {
  const { targets, own } = ref === undefined ? await targetsOfManifest(flags) : targetOf(ref);
  const engine = flags.engine === 'oras' ? await findOras(registryOptions, signal) : undefined;
  const options = { credentialsFor: [own], onEvent: warningPrinter(), ...registryOptions };
  const diagnosis = await diagnose(targets, options, signal);
  const good =
    engine?.status !== 'failed' && diagnosis.targets.every(({ steps }) => steps.every(it => it.status !== 'failed'));
  return { schemaVersion: 1, good, ...(engine === undefined ? {} : { engine }), ...diagnosis };
}

interface Targets {
  readonly targets: readonly DoctorTarget[];
  /** The host that --username is for. */
  readonly own: string;
}

/** Returns each registry of the manifest once, with its first plugin, and each mirror of these registries. */
async function targetsOfManifest(flags: DoctorFlags): Promise<Targets> {
  const whole = await readPluginManifest(flags.manifest);
  const manifest = flags.registry === undefined ? whole : withRegistry(whole, flags.registry);
  const firsts = new Map<string, Reference>();
  for (const { source } of manifest.versions)
    if (source.kind === 'image' && !firsts.has(source.reference.registry))
      firsts.set(source.reference.registry, source.reference);
  const targets = [...firsts.values()].flatMap(reference => [
    { role: 'registry' as const, registry: reference.registry, reference },
    ...mirrorsOf(manifest, reference),
  ]);
  const [own = ''] = manifest.registry.split('/');
  return { targets: targets.length > 0 ? targets : [{ role: 'registry', registry: own }], own };
}

function mirrorsOf({ mirrors }: PluginManifest, reference: Reference): DoctorTarget[] {
  return (mirrors[reference.registry] ?? []).map(mirror => {
    const [registry = '', ...prefix] = mirror.split('/');
    const repository = [...prefix, reference.repository].join('/');
    return { role: 'mirror', registry, reference: { ...reference, registry, repository } };
  });
}

function targetOf(ref: string): Targets {
  if (isRegistry(ref)) return { targets: [{ role: 'registry', registry: ref }], own: ref };
  const reference = parseReference(ref);
  return { targets: [{ role: 'registry', registry: reference.registry, reference }], own: reference.registry };
}

async function findOras(options: RegistryOptions, signal: AbortSignal): Promise<EngineFinding> {
  try {
    return { name: 'oras', status: 'ok', found: `ORAS ${await readOrasVersion(options, signal)}` };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof Refusal)) throw error;
    return { name: 'oras', status: 'failed', found: error.message, hint: error.hint };
  }
}

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
      : ['A firewall must allow connections from this machine to', ...hostTable([head, ...rows(direct)], paint)]),
    ...(behind.length === 0
      ? []
      : [
          `A firewall must allow connections from the proxy ${behind[0]?.through} to`,
          ...hostTable([head, ...rows(behind)], paint),
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

function hostTable(cells: readonly (readonly string[])[], paint: Paint): string[] {
  return table(cells).map((line, index) => `  ${index === 0 ? paint.underline(line) : line}`);
}
