import type { Extra } from '../../mirror/report.ts';
import { listed } from './failures.ts';

/** A line for each fate of what the manifest does not name: nothing of it goes, or stays, in silence. */
export function renderExtras(extras: readonly Extra[]): string[] {
  const line = (words: string, found: readonly Extra[], hint = '') =>
    found.length === 0 ? [] : [`  ${words}: ${listed(found.map(withDamage))}${hint}`];
  const stay = extras.filter(({ removed, leftPaths, unlisted }) => !removed && leftPaths === undefined && !unlisted);
  const left = extras.flatMap(({ leftPaths }) => leftPaths ?? []);
  const unlisted = extras.filter(it => it.unlisted);
  return [
    ...line(
      'removed, no longer in the manifest',
      extras.filter(({ removed }) => removed),
    ),
    ...line(
      'kept, though no longer in the manifest, since a version of the same plugin failed',
      stay.filter(({ kept }) => kept === 'failed'),
    ),
    ...line(
      'also in the tree, not in the manifest',
      stay.filter(({ kept }) => kept === undefined),
      ' (--prune removes them)',
    ),
    ...line(
      'also in the tree, not in the manifest',
      stay.filter(({ kept }) => kept === 'unselected'),
      ' (--prune removes what --only fits)',
    ),
    ...line(
      'damaged and not in the manifest, so no longer in the catalog',
      unlisted,
      ' (delete what is left of them by hand)',
    ),
    ...(left.length === 0
      ? []
      : [`  left where it lies, since it is not what was published: ${listed(left)} (move it away by hand)`]),
  ];
}

function withDamage({ name, version, damage, leftPaths }: Extra): string {
  const aside = leftPaths === undefined ? damage : 'some of it was left';
  return aside === undefined ? `${name}/${version}` : `${name}/${version} (${aside})`;
}
