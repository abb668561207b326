import { Refusal } from '../refusal/refusal.ts';
import type { PluginManifest } from './manifest/wanted.ts';
import { type Published, versionKey } from './report.ts';

type Lost = Published & { readonly damage: string };

/** What a run over this part of the list could not leave in the catalog. A target that an alias brought in has an outcome of its own. */
export function lostBeside(lost: readonly Lost[], { versions, aliases }: PluginManifest): UnselectedDamaged[] {
  const asked = new Set([...versions, ...aliases].map(versionKey));
  const untold = lost.filter(it => !asked.has(versionKey(it)));
  return untold.length === 0 ? [] : [new UnselectedDamaged(untold)];
}

/** Versions that --only left out of a run, and that the run could not leave in the catalog. */
class UnselectedDamaged extends Refusal {
  readonly code = 'UNSELECTED_DAMAGED';

  constructor(lost: readonly Lost[]) {
    const names = [...new Set(lost.map(({ name }) => name))];
    super(
      lost.length === 1
        ? 'a version that --only leaves out is damaged and no longer listed'
        : `${lost.length} versions that --only leaves out are damaged and no longer listed`,
      {
        expected: 'the bytes that were published',
        found: lost.map(({ name, version, damage }) => `${name} ${version}: ${damage}`).join('; '),
        hint: `Fetch ${lost.length === 1 ? 'it' : 'them'} anew with: plugin-mirror sync --only ${names.slice(0, 10).join(' ')}${names.length > 10 ? ' …, or without --only' : ''}`,
      },
    );
  }
}
