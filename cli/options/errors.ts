import { Refusal } from '../../base/refusal.ts';

/** The value of an option cannot be used with any manifest. */
export class OptionInvalid extends Refusal {
  readonly code = 'OPTION_INVALID';
}

/** Two options contradict each other, or one lacks the other. */
export class OptionConflict extends Refusal {
  readonly code = 'OPTION_CONFLICT';
}
