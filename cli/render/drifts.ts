import type pc from 'picocolors';
import type { Drift } from '../../mirror/report.ts';
import { listed } from './failures.ts';

/** Drifts that are shown in full, so that all of them fit a screen. */
const DRIFTS_SHOWN = 4;

/** Returns lines for tags that have moved, for local files that have changed, and for the command that takes the new images. */
export function renderDrifts(drifts: readonly Drift[], paint: ReturnType<typeof pc.createColors>): string[] {
  if (drifts.length === 0) return [];
  const more = drifts.slice(DRIFTS_SHOWN).map(({ name, version }) => `${name} ${version}`);
  const names = [...new Set(drifts.filter(({ local, followed }) => !local && !followed).map(({ name }) => name))];
  const which = names.length > DRIFTS_SHOWN ? 'NAME…' : names.join(' ');
  return [
    ...drifts.slice(0, DRIFTS_SHOWN).flatMap(drift => renderDrift(drift, paint)),
    ...(more.length === 0
      ? []
      : [`… and ${more.length} more: ${listed(more)}; plugin-mirror check lists every digest`]),
    ...(names.length === 0
      ? []
      : [
          `  ${paint.cyan('→')} Run plugin-mirror sync --update ${which} to take ${names.length === 1 ? 'it' : 'them'}; until then the locked images are mirrored.`,
        ]),
  ];
}

function renderDrift(drift: Drift, paint: ReturnType<typeof pc.createColors>): string[] {
  const what = drift.local
    ? `${drift.reference} has changed since it was locked; a local file is always published in its current form`
    : drift.followed
      ? `the tag ${drift.reference} has moved since it was published; it is not locked, so this run takes the new image`
      : `the tag ${drift.reference} has moved`;
  const before = drift.followed ? 'before ' : 'locked ';
  const made = drift.foundCreated === undefined ? '' : `, made ${drift.foundCreated}`;
  return [
    `${paint.yellow('drift')} ${drift.name} ${drift.version}: ${what}`,
    `  ${before} ${drift.lockedDigest}`,
    `  now     ${drift.foundDigest}${made}`,
  ];
}
