import { isSystemError } from './errno.ts';
import { messageOf } from './printable.ts';

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
  /** The host, folder, file or image that has the fault, where it is not the subject. */
  readonly faultIn?: string;
  /** Further lines of the message, one for each mistake, without line breaks. */
  readonly lines?: readonly string[];
  /** The error that this one only follows from. It becomes the cause, and reports show it instead of this one. */
  readonly consequenceOf?: Error | undefined;
}

/**
 * An error that a user can meet. Each kind is a small subclass with a stable `code` that begins with its stage
 * (`MANIFEST_INVALID`, `REGISTRY_UNAUTHORIZED`); docs/errors.md lists every code. The original error is the `cause`.
 */
export abstract class Refusal extends Error {
  abstract readonly code: string;
  /** The first line of the message. */
  readonly headline: string;
  readonly lines: readonly string[];
  readonly subject: string | undefined;
  readonly expected: string | undefined;
  readonly found: string | undefined;
  readonly hint: string;
  readonly registrySaid: string | undefined;
  readonly faultIn: string | undefined;
  readonly consequenceOf: Error | undefined;

  constructor(headline: string, details: RefusalDetails) {
    const cause = details.cause ?? details.consequenceOf;
    const { lines = [] } = details;
    super(messageOf(headline, lines), cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.headline = headline;
    this.lines = lines;
    this.subject = details.subject;
    this.expected = details.expected;
    this.found = details.found;
    this.hint = details.hint;
    this.registrySaid = details.registrySaid;
    this.faultIn = details.faultIn ?? details.subject;
    this.consequenceOf = details.consequenceOf;
  }
}

/** The operating system failed a call that has no refusal of its own, such as EIO of a failing disk. */
export class SystemFault extends Refusal {
  readonly code = 'SYSTEM_FAULT';
}

/** Returns a SystemFault for an error of the operating system, which is no bug, and any other error as it is. */
export function asSystemFault(error: unknown): unknown {
  if (!isSystemError(error) || error instanceof Refusal) return error;
  return new SystemFault(`The operating system reports ${error.message}`, {
    ...(error.path === undefined ? {} : { faultIn: error.path }),
    hint: 'Check the disk, the network volume and the permissions there; the system log has more about EIO.',
    cause: error,
  });
}

/** Returns what was thrown, as an Error: JavaScript can throw any value. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** Returns the error that a report shows for this one: the one that it follows from, over several steps if need be. */
export function rootOf(error: Error): Error {
  return error instanceof Refusal && error.consequenceOf !== undefined ? rootOf(error.consequenceOf) : error;
}

/** Two errors of one run have the same cause if their keys are equal: their roots have one code, and the fault is in one thing. */
export function causeKeyOf(error: Error): string {
  const root = rootOf(error);
  return root instanceof Refusal ? `${root.code} ${root.faultIn ?? ''}` : root.message;
}
