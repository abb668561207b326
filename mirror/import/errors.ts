import { Refusal } from '../../base/refusal.ts';
import { type Problem, problemLines } from '../json/problem.ts';

const kinds =
  'plugins.properties, a snapshot (JSON with a list of "plugins") or an unmanaged lock (JSON with "servedVersion"s)';

/** The file is not a list that can be imported, or none of its entries can be taken. */
export class ImportInvalid extends Refusal {
  readonly code = 'IMPORT_INVALID';

  constructor(file: string, problems: readonly Problem[], hint?: string) {
    super(`${file} cannot be imported`, {
      subject: file,
      lines: problemLines(problems),
      expected: kinds,
      ...(problems[0] === undefined ? {} : { found: problems[0].found }),
      hint: hint ?? 'Name one of the lists that Higress’ plugin server is built from.',
    });
  }
}

export class ImportUnreadable extends Refusal {
  readonly code = 'IMPORT_UNREADABLE';

  constructor(file: string, found: string, cause?: unknown) {
    super(`${file} cannot be read: ${found}`, {
      subject: file,
      expected: kinds,
      found,
      hint: 'Name the file to import, such as plugin-mirror import plugins.properties.',
      cause,
    });
  }
}

/** An existing manifest is not overwritten without --force. */
export class ManifestExists extends Refusal {
  readonly code = 'MANIFEST_EXISTS';

  constructor(file: string) {
    super(`${file} exists already`, {
      subject: file,
      expected: 'no file of that name',
      found: 'a file',
      hint: 'Write another with --manifest FILE, or replace this one with --force.',
    });
  }
}

export class ManifestUnwritable extends Refusal {
  readonly code = 'MANIFEST_UNWRITABLE';

  constructor(file: string, found: string, cause: unknown) {
    super(`${file} cannot be written: ${found}`, {
      subject: file,
      expected: 'a folder that the user who runs this may write to',
      found,
      hint: 'Give this user the right to write there, or name another file with --manifest FILE. import and init print the manifest without --write.',
      cause,
    });
  }
}
