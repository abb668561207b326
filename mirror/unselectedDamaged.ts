import { Refusal } from '../refusal/refusal.ts';
import type { Published } from './report.ts';

/** Versions that --only left out of a run, and that the run could not leave in the catalog. */
export class UnselectedDamaged extends Refusal {
  readonly code = 'UNSELECTED_DAMAGED';

  constructor(lost: readonly (Published & { readonly damage: string })[]) {
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
