import type pc from 'picocolors';
import { printableValue } from '../../base/printable.ts';
import { causeKeyOf, Refusal, rootOf } from '../../base/refusal.ts';
import { plural } from '../../base/words.ts';
import { refusalDetails } from './refusal.ts';

type Paint = ReturnType<typeof pc.createColors>;

/** Names that one line lists before it says how many more there are. */
const NAMES_SHOWN = 6;
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
  const blocks = blocksOf(printableValue(failures));
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

function renderBlock({ error, failures, causes }: Block, paint: Paint): string[] {
  const head = [
    `${paint.red('failed')} ${paint.bold(codeOf(error))}  ${subjectsOf(failures)}`,
    `  ${error.message}`,
    ...(causes === 1 ? [] : ['  The others failed alike, each for itself; --format json lists every one.']),
  ];
  if (!(error instanceof Refusal))
    return [...head, `  ${paint.cyan('→')} This is a bug in plugin-mirror, please report it.`];
  const doctor = `  ${paint.cyan('→')} plugin-mirror doctor shows at which step the way to the registry ends.`;
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

/** In the order in which each key came first. */
function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    groups.set(key, [...(groups.get(key) ?? []), item]);
  }
  return [...groups.values()];
}

function codeOf(error: Error | undefined): string {
  const root = error === undefined ? undefined : rootOf(error);
  return root instanceof Refusal ? root.code : 'INTERNAL';
}

/** Returns the first few of a list of names, and how many more there are. */
export function listed(names: readonly string[], most = NAMES_SHOWN): string {
  const shown = names.slice(0, most).join(', ');
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}
