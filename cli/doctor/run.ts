import process from 'node:process';
import { printableValue } from '../../base/printable.ts';
import { Refusal } from '../../base/refusal.ts';
import type { PluginManifest } from '../../mirror/manifest/readManifest.ts';
import { readPluginManifest, withRegistry } from '../../mirror/manifest/readManifest.ts';
import { type Diagnosis, type DoctorTarget, diagnose, readOrasVersion } from '../../registry/doctor/diagnose.ts';
import { isRegistry, parseReference, type Reference } from '../../registry/reference.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { EXIT } from '../exit.ts';
import type { DoctorFlags } from '../options/tables.ts';
import { wantsColor } from '../render/colors.ts';
import { printJson, printText, warningPrinter } from '../render/print.ts';
import { type EngineFinding, renderDiagnosis } from './text.ts';

export interface DoctorRun {
  readonly ref: string | undefined;
  readonly flags: DoctorFlags;
  readonly registryOptions: RegistryOptions;
  readonly signal: AbortSignal;
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
