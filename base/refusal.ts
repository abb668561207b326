/** The details of a refusal. Text only and never a secret, because all of it is printed and logged. */
export interface RefusalDetails {
  /** The plugin, reference, file or option that this is about. */
  readonly subject?: string;
  readonly expected?: string;
  readonly found?: string;
  /** The next step for the user, as a full sentence. */
  readonly hint: string;
  /** The registry's own error text, shown as a quotation. */
  readonly registrySaid?: string;
  readonly cause?: unknown;
}

/**
 * An error that a user can meet. Each kind is a small subclass with a stable `code` that begins with its stage
 * (`MANIFEST_INVALID`, `REGISTRY_UNAUTHORIZED`); docs/errors.md lists every code. The original error is the `cause`.
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
