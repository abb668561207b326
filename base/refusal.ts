/** What a refusal tells beside its message. Text only, and never a secret: all of it is printed and logged. */
export interface RefusalDetails {
  /** Which plugin, reference, file or option this is about. */
  readonly subject?: string;
  readonly expected?: string;
  readonly found?: string;
  /** What the user does next, as a full sentence. */
  readonly hint: string;
  /** The registry's own words, shown as such. */
  readonly registrySaid?: string;
  readonly cause?: unknown;
}

/**
 * An error that a user can meet. Each kind is a small subclass with a stable `code` that carries its stage
 * (`MANIFEST_INVALID`, `REGISTRY_UNAUTHORIZED`); docs/errors.md lists every code. This is the ground floor of the
 * house: every room may import it, it imports nothing.
 */
export abstract class Refusal extends Error {
  abstract readonly code: string;
  readonly subject: string | undefined;
  readonly expected: string | undefined;
  readonly found: string | undefined;
  readonly hint: string;
  readonly registrySaid: string | undefined;

  constructor(message: string, details: RefusalDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.subject = details.subject;
    this.expected = details.expected;
    this.found = details.found;
    this.hint = details.hint;
    this.registrySaid = details.registrySaid;
  }
}
