import { inspect } from 'node:util';
import pc from 'picocolors';
import { groupBy } from '../../base/groups.ts';
import { printable, printableValue } from '../../base/printable.ts';
import { asSystemFault, causeKeyOf, Refusal, rootOf } from '../../base/refusal.ts';
import { plural } from '../../base/words.ts';
import { listed } from './text.ts';

/**
 * Formats an error for people: what happened, what was expected and found, what the registry said, what to do. An error that
 * is neither a Refusal nor the operating system's is a bug of plugin-mirror and shows its stack.
 */
export function renderRefusal(given: unknown, { color }: { readonly color: boolean }): string {
  const paint = pc.createColors(color);
  const error = printableValue(asSystemFault(given));
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

type Paint = ReturnType<typeof pc.createColors>;

const NAMES_OF_A_CAUSE = 3;
/** Blocks that are shown in full. With their hints they still fit a screen. */
const BLOCKS_SHOWN = 6;
/** More causes than this with one code share a block: forty images that are no plugins need the same remedy. */
const CAUSES_APART = 3;

/** Codes of failures that `plugin-mirror doctor` narrows down to a step: name, connection, TLS, proxy, login. */
const DOCTOR_HELPS: ReadonlySet<string> = new Set(
  ['DNS', 'REFUSED', 'TLS', 'TIMEOUT', 'PROXY', 'UNAUTHORIZED', 'ALL_FAILED'].map(code => `REGISTRY_${code}`),
);

/** A plugin, or one version of it, that failed. */
export interface Failure {
  readonly name: string;
  readonly version?: string;
  /** True of an alias. It is counted, not named, if it failed since its target did. */
  readonly isAlias?: boolean;
  readonly error: Error;
}

/** The failures that one cause has. */
interface Block {
  readonly error: Error;
  readonly failures: readonly Failure[];
  /** How many different causes share this block. */
  readonly causes: number;
}

/** Returns one block for each cause: what happened, which plugins it hit, what to do. A registry that is down is one cause. */
export function renderFailures(failures: readonly Failure[], paint: Paint): string[] {
  const blocks = blocksOf(failures);
  const shown = blocks.slice(0, BLOCKS_SHOWN).flatMap(block => renderBlock(block, paint));
  const more = blocks.length - BLOCKS_SHOWN;
  return more > 0 ? [`… and ${plural(more, 'more cause')} of failure; --format json lists every one`, ...shown] : shown;
}

function blocksOf(failures: readonly Failure[]): Block[] {
  const causes = groupBy(failures, ({ error }) => causeKeyOf(error));
  const codes = groupBy(causes, ([first]) => codeOf(first?.error));
  return codes.flatMap(ofCode =>
    ofCode.length > CAUSES_APART ? blockOf(ofCode.flat(), ofCode.length) : ofCode.flatMap(group => blockOf(group, 1)),
  );
}

function blockOf(failures: readonly Failure[], causes: number): Block[] {
  const [first] = failures;
  return first === undefined ? [] : [{ error: rootOf(first.error), failures, causes }];
}

function renderBlock({ error: given, failures, causes }: Block, paint: Paint): string[] {
  const error = printableValue(asSystemFault(given) as Error);
  const head = [
    `${paint.red('failed')} ${paint.bold(codeOf(error))}  ${printable(subjectsOf(failures))}`,
    `  ${error.message}`,
    ...(causes === 1 ? [] : ['  The others failed in the same way; --format json lists every one.']),
  ];
  if (!(error instanceof Refusal))
    return [...head, `  ${paint.cyan('→')} This is a bug in plugin-mirror, please report it.`];
  const doctor = `  ${paint.cyan('→')} plugin-mirror doctor shows which step of the connection to the registry fails.`;
  return [...head, ...refusalDetails(error, paint), ...(DOCTOR_HELPS.has(error.code) ? [doctor] : [])];
}

/** `a 1.0.0, b 1.0.0`; of more than three, `12 versions of 5 plugins, 2 aliases: a 1.0.0, … and 11 more`. */
function subjectsOf(failures: readonly Failure[]): string {
  const isConsequence = ({ isAlias, error }: Failure) => isAlias === true && rootOf(error) !== error;
  const aliases = failures.filter(isConsequence);
  const direct = failures.filter(failure => !isConsequence(failure));
  const named = [...direct, ...aliases].map(({ name, version }) =>
    version === undefined ? name : `${name} ${version}`,
  );
  const names = [...new Set(named)];
  if (names.length <= NAMES_OF_A_CAUSE) return names.join(', ');
  const versions = direct.filter(({ version }) => version !== undefined).length;
  const plugins = plural(new Set(failures.map(({ name }) => name)).size, 'plugin');
  const counts = [
    versions === 0 ? plugins : `${plural(versions, 'version')} of ${plugins}`,
    ...(aliases.length === 0 ? [] : [aliases.length === 1 ? '1 alias' : `${aliases.length} aliases`]),
  ];
  return `${counts.join(', ')}: ${listed(names, NAMES_OF_A_CAUSE)}`;
}

function codeOf(error: Error | undefined): string {
  const root = error === undefined ? undefined : asSystemFault(rootOf(error));
  return root instanceof Refusal ? root.code : 'INTERNAL';
}

/** Returns an error in the form that the JSON output of every command has. */
export function errorJson(given: unknown): object {
  const error = asSystemFault(given);
  if (error instanceof Error && error.name === 'Interrupted')
    return { code: 'INTERRUPTED', message: error.message, hint: 'Run it again: finished plugins are kept.' };
  if (!(error instanceof Refusal)) {
    const message = error instanceof Error ? error.message : String(error);
    return { code: 'INTERNAL', message, hint: 'This is a bug in plugin-mirror, please report it.' };
  }
  const { code, message, hint, subject, expected, found, registrySaid } = error;
  const problems = 'problems' in error ? { problems: error.problems } : {};
  return { code, message, hint, subject, expected, found, registrySaid, ...problems };
}
