import type pc from 'picocolors';
import { Refusal } from '../../base/refusal.ts';
import { refusalDetails } from './refusal.ts';

/** Names that one line lists before it says how many more there are. */
const NAMES_SHOWN = 6;
/** Kinds of failure that are told in full; with their hints they still fit a screen. */
const KINDS_SHOWN = 6;

export interface Failure {
  /** `NAME VERSION`, or what else failed. */
  readonly what: string;
  readonly error: Error;
}

/** Failures of one kind with one remedy are one paragraph: a registry that is down is told once, not for each plugin. */
export function renderFailures(failures: readonly Failure[], paint: ReturnType<typeof pc.createColors>): string[] {
  const groups = new Map<string, Failure[]>();
  for (const failure of failures) {
    const { error } = failure;
    const key = error instanceof Refusal ? `${error.code}\n${error.hint}` : error.message;
    groups.set(key, [...(groups.get(key) ?? []), failure]);
  }
  const shown = [...groups.values()].slice(0, KINDS_SHOWN).flatMap(group => renderGroup(group, paint));
  const more = groups.size - KINDS_SHOWN;
  return more > 0 ? [...shown, `… and ${more} more kinds of failure; --format json lists every one`] : shown;
}

function renderGroup(group: readonly Failure[], paint: ReturnType<typeof pc.createColors>): string[] {
  const error = group[0]?.error;
  if (error === undefined) return [];
  const code = error instanceof Refusal ? error.code : 'INTERNAL';
  const names = listed(group.map(({ what }) => what));
  const lines = [`${paint.red('failed')} ${paint.bold(code)}  ${names}`, `  ${error.message}`];
  if (!(error instanceof Refusal))
    return [...lines, `  ${paint.cyan('→')} This is a fault in plugin-mirror, please report it.`];
  return [...lines, ...refusalDetails(error, paint)];
}

/** The first few of a list of names, and how many more there are. */
export function listed(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_SHOWN).join(', ');
  return names.length > NAMES_SHOWN ? `${shown} and ${names.length - NAMES_SHOWN} more` : shown;
}
