import { Refusal } from '../../base/refusal.ts';
import { plural } from '../../base/words.ts';
import { type SyncReport, versionKey } from '../../mirror/report.ts';
import { listed } from '../render/failures.ts';

/** The time of `--deadline` is over. As an AbortSignal's reason it stops the run like Ctrl-C. */
export class SyncDeadline extends Refusal {
  readonly code = 'SYNC_DEADLINE';
  readonly deadlineMs: number;

  constructor(deadlineMs: number, found = 'nothing was finished') {
    super(`The run did not finish within ${deadlineMs / 1000} s and was stopped`, {
      expected: `the whole run within ${deadlineMs / 1000} s`,
      found,
      hint: 'Run it again: it continues from what is finished. Or allow more time with --deadline.',
    });
    this.deadlineMs = deadlineMs;
  }
}

/** The same with what a stopped run finished. `names` are all versions and aliases that it was asked for. */
export function lateBy(reason: SyncDeadline, report: SyncReport, names: readonly string[]): SyncDeadline {
  const whole = report.outcomes.filter(({ status }) => status !== 'failed').map(versionKey);
  const failed = report.outcomes.filter(({ status }) => status === 'failed').length;
  const known = new Set(report.outcomes.map(versionKey));
  const open = names.filter(name => !known.has(name));
  const parts = [
    whole.length === 0 ? 'nothing was finished' : `${whole.length} of ${names.length} finished: ${listed(whole)}`,
    ...(failed === 0 ? [] : [`${plural(failed, 'failure')}`]),
    ...(open.length === 0 ? [] : [`not finished: ${listed(open)}`]),
  ];
  return new SyncDeadline(reason.deadlineMs, parts.join('; '));
}
