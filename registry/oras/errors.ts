import { Refusal } from '../../base/refusal.ts';

const HOW_TO_GET =
  'Get ORAS 1.3.0 or later: `apt install oras` (Debian 13 and later), `brew install oras`, copy /bin/oras out of the image ghcr.io/oras-project/oras:v1.3.3, or oras-project/setup-oras in GitHub Actions. The npm package of that name is another project. Or use --engine builtin, which needs no other program.';

/** There is no ORAS CLI on PATH, or another program of that name. */
export class OrasMissing extends Refusal {
  readonly code = 'ORAS_MISSING';

  constructor(found: string, cause?: unknown) {
    super(`The ORAS CLI is needed for --engine oras: ${found}`, {
      subject: 'oras',
      expected: 'the ORAS CLI, 1.3.0 or later, on PATH',
      found,
      hint: HOW_TO_GET,
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

/** The ORAS CLI lacks options that are used here. */
export class OrasTooOld extends Refusal {
  readonly code = 'ORAS_TOO_OLD';

  constructor(version: string) {
    super(`The ORAS CLI on PATH is ${version}, which is too old`, {
      subject: 'oras',
      expected: '1.3.0 or later',
      found: version,
      hint: HOW_TO_GET,
    });
  }
}
