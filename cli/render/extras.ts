import type { Extra } from '../../mirror/report.ts';
import { listed } from './failures.ts';

/** Returns a line for each way in which versions that the manifest does not name were treated. None is removed or kept in silence. */
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
      'kept although no longer in the manifest, because a version of the same plugin failed',
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
      ' (--prune removes those that --only selects)',
    ),
    ...line('damaged and not in the manifest, so no longer in the catalog', unlisted, ' (delete their files by hand)'),
    ...(left.length === 0
      ? []
      : [
          `  left in place, because these files are not as sync published them: ${listed(left)} (move them away by hand)`,
        ]),
  ];
}

function withDamage({ name, version, damage, leftPaths }: Extra): string {
  const aside = leftPaths === undefined ? damage : 'some files were not removed';
  return aside === undefined ? `${name}/${version}` : `${name}/${version} (${aside})`;
}
