import { inspect } from 'node:util';
import pc from 'picocolors';
import { isSystemError } from '../../base/errno.ts';
import { printableValue } from '../../base/printable.ts';
import { Refusal } from '../../base/refusal.ts';

const SYSTEM_HINT = 'Check the disk, the network volume and the permissions there; the system log has more about EIO.';

/**
 * Formats an error for people: what happened, what was expected and found, what the registry said, what to do. An error of the
 * operating system has no code of ours. Any other error that is not a Refusal is a bug of plugin-mirror and shows its stack.
 */
export function renderRefusal(given: unknown, { color }: { readonly color: boolean }): string {
  const paint = pc.createColors(color);
  const error = printableValue(given);
  if (isSystemError(error) && !(error instanceof Refusal))
    return `${paint.red('error')} the operating system reports ${error.message}\n  ${paint.cyan('→')} ${SYSTEM_HINT}\n`;
  if (!(error instanceof Refusal)) {
    const stack = error instanceof Error ? (error.stack ?? error.message) : inspect(error);
    return `${paint.red('error')} this is a bug in plugin-mirror, please report it\n${stack.replace(/^/gm, '  ')}\n`;
  }
  return `${[`${paint.red('error')} ${paint.bold(error.code)}  ${error.message}`, ...refusalDetails(error, paint)].join('\n')}\n`;
}

/** Returns the lines below an error's message. */
export function refusalDetails(error: Refusal, paint: ReturnType<typeof pc.createColors>): string[] {
  const { expected, found, registrySaid, hint } = error;
  return [
    ...(expected === undefined ? [] : [`  expected  ${expected}`]),
    ...(found === undefined ? [] : [`  found     ${found}`]),
    ...(registrySaid === undefined ? [] : [`  the registry said  ${paint.dim(`“${registrySaid}”`)}`]),
    `  ${paint.cyan('→')} ${hint}`,
  ];
}
