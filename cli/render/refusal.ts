import { inspect } from 'node:util';
import pc from 'picocolors';
import { Refusal } from '../../base/refusal.ts';

/**
 * An error as a person reads it: what happened, what was expected and found, what the registry said, what to do. An error
 * that is no Refusal is a fault of ours and shows its stack.
 */
export function renderRefusal(error: unknown, { color }: { readonly color: boolean }): string {
  const paint = pc.createColors(color);
  if (!(error instanceof Refusal)) {
    const stack = error instanceof Error ? (error.stack ?? error.message) : inspect(error);
    return `${paint.red('error')} this is a fault in plugin-mirror, please report it\n${stack.replace(/^/gm, '  ')}\n`;
  }
  return `${[`${paint.red('error')} ${paint.bold(error.code)}  ${error.message}`, ...refusalDetails(error, paint)].join('\n')}\n`;
}

/** The lines below an error's message. */
export function refusalDetails(error: Refusal, paint: ReturnType<typeof pc.createColors>): string[] {
  const { expected, found, registrySaid, hint } = error;
  return [
    ...(expected === undefined ? [] : [`  expected  ${expected}`]),
    ...(found === undefined ? [] : [`  found     ${found}`]),
    ...(registrySaid === undefined ? [] : [`  the registry said  ${paint.dim(`“${registrySaid}”`)}`]),
    `  ${paint.cyan('→')} ${hint}`,
  ];
}
