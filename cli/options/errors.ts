import { Refusal } from '../../base/refusal.ts';

/** An option whose value cannot be used, whatever the manifest says. */
export class OptionInvalid extends Refusal {
  readonly code = 'OPTION_INVALID';
}

/** Options that contradict each other. */
export class OptionConflict extends Refusal {
  readonly code = 'OPTION_CONFLICT';
}
