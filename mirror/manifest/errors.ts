import { Refusal } from '../../base/refusal.ts';
import { type Problem, problemCount, problemLines } from '../json/problem.ts';

/** The manifest has mistakes; all of them are reported together. */
export class ManifestInvalid extends Refusal {
  readonly code = 'MANIFEST_INVALID';
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[], cause?: unknown, hint?: string) {
    super(`${file}: ${problemCount(problems)}`, {
      subject: file,
      lines: problemLines(problems),
      hint:
        hint ??
        'Nothing was changed. With "$schema": "./manifest.schema.json" an editor marks such mistakes while you type.',
      cause,
    });
    this.problems = problems;
  }
}

export class ManifestMissing extends Refusal {
  readonly code = 'MANIFEST_MISSING';

  constructor(file: string, cause: unknown) {
    super(`${file} does not exist`, {
      subject: file,
      expected: 'a JSON file that lists plugins',
      found: 'no such file',
      hint: 'Name the file with --manifest FILE, or make one from Higress’ own list: plugin-mirror import plugins.properties --write',
      cause,
    });
  }
}

export class ManifestUnreadable extends Refusal {
  readonly code = 'MANIFEST_UNREADABLE';

  constructor(file: string, found: string, cause?: unknown) {
    super(`${file} cannot be read: ${found}`, {
      subject: file,
      expected: 'a JSON file that lists plugins, readable by the user who runs this',
      found,
      hint: 'Name another file with --manifest FILE, or give this user the right to read it.',
      cause,
    });
  }
}
