import { whyUnread } from '../../base/boundedFile.ts';
import { errno } from '../../base/errno.ts';
import { Refusal } from '../../base/refusal.ts';
import { withoutLogin } from '../../registry/reference.ts';

/** The value of an option cannot be used with any manifest. */
export class OptionInvalid extends Refusal {
  readonly code = 'OPTION_INVALID';
}

/** Two options contradict each other, or one lacks the other. */
export class OptionConflict extends Refusal {
  readonly code = 'OPTION_CONFLICT';
}

/** Returns the error for the file of an option that this user cannot read. */
export function fileUnreadableError(
  option: string,
  file: string,
  cause: unknown,
  expected = 'a file that this user may read',
): OptionInvalid {
  // A path may contain an @. A URL, given by mistake, may contain a login.
  const shown = /:.*@|\?.*=/s.test(file) ? withoutLogin(file) : file;
  return new OptionInvalid(`${option}: ${shown} cannot be read`, {
    subject: option,
    expected,
    found: errno(cause) === 'ENOENT' ? 'no such file' : whyUnread(cause),
    hint: 'Check the path and the permissions. A relative path starts in the current folder.',
    cause,
  });
}
