import { parseDocument, stringify } from 'yaml';
import { type LocalText, localText, member } from './specInfo.ts';

/** Real files have up to 60 KB. */
export const MOST_SPEC_BYTES = 256 * 1024;
/** Aliases of one file may be expanded to so many nodes: more is an attack ("billion laughs"). */
const MOST_ALIASES = 100;
const MOST_DEPTH = 12;
const MOST_ROWS = 400;
const MOST_EXAMPLE = 20_000;
const MOST_TEXT = 2000;

/** A key of a plugin's configuration. */
export interface ConfigRow {
  /** `providers[].type`. */
  readonly key: string;
  readonly type: string;
  readonly required: boolean;
  /** As JSON. */
  readonly defaultValue?: string;
  /** `1 – 100`, `one of a, b`, `pattern …`: as name and value, to be worded in the reader's language. */
  readonly constraints: readonly (readonly [kind: ConstraintKind, value: string])[];
  readonly title: LocalText;
  readonly description: LocalText;
}

export type ConstraintKind =
  | 'enum'
  | 'minimum'
  | 'maximum'
  | 'minLength'
  | 'maxLength'
  | 'minItems'
  | 'maxItems'
  | 'pattern'
  | 'format';

export interface ConfigSchema {
  readonly rows: readonly ConfigRow[];
  /** Whether the schema has more keys, or deeper ones, than are listed. */
  readonly isCut: boolean;
  /** As YAML. */
  readonly example?: string;
}

/** A plugin's configuration as its spec.yaml describes it; `fault` if the file cannot be used. */
export interface SpecFile {
  readonly fault?: string;
  readonly phase?: string;
  readonly priority?: number;
  /** Of the gateway as a whole, then of routes and domains. */
  readonly config?: ConfigSchema;
  readonly routeConfig?: ConfigSchema;
}

/** Parses a spec.yaml of an image: any text at all, so everything in it has limits. */
export function parseSpec(text: string): SpecFile {
  let value: unknown;
  try {
    const document = parseDocument(text, { logLevel: 'silent' });
    const [error] = document.errors;
    if (error !== undefined) return { fault: error.message.split('\n')[0]?.slice(0, 300) ?? '' };
    value = document.toJS({ maxAliasCount: MOST_ALIASES });
  } catch (error) {
    return { fault: (error as Error).message.slice(0, 300) };
  }
  const spec = member(value, 'spec');
  const phase = member(spec, 'phase');
  const priority = member(spec, 'priority');
  const config = configSchema(member(spec, 'configSchema'));
  const routeConfig = configSchema(member(spec, 'routeConfigSchema'));
  return {
    ...(typeof phase === 'string' && PHASE.test(phase) ? { phase } : {}),
    ...(typeof priority === 'number' && Number.isInteger(priority) ? { priority } : {}),
    ...(config === undefined ? {} : { config }),
    ...(routeConfig === undefined ? {} : { routeConfig }),
  };
}

/** AUTHN, AUTHZ, STATS or UNSPECIFIED_PHASE, as WasmPlugin's `phase` takes them. */
const PHASE = /^[A-Za-z_]{1,40}$/;

function configSchema(holder: unknown): ConfigSchema | undefined {
  const schema = member(holder, 'openAPIV3Schema');
  if (typeof schema !== 'object' || schema === null) return undefined;
  const state = { rows: [] as ConfigRow[], isCut: false };
  addMembers(schema, '', 1, state);
  const example = exampleText(member(schema, 'example') ?? member(holder, 'example'));
  if (state.rows.length === 0 && example === undefined) return undefined;
  return { ...state, ...(example === undefined ? {} : { example }) };
}

interface Rows {
  readonly rows: ConfigRow[];
  isCut: boolean;
}

function addMembers(schema: unknown, path: string, depth: number, into: Rows): void {
  const properties = member(schema, 'properties');
  const required = member(schema, 'required');
  const isRequired = (name: string) => Array.isArray(required) && required.includes(name);
  if (typeof properties === 'object' && properties !== null)
    for (const [name, property] of Object.entries(properties)) {
      if (into.rows.length >= MOST_ROWS || depth > MOST_DEPTH) {
        into.isCut = true;
        return;
      }
      addKey(property, `${path === '' ? '' : `${path}.`}${name.slice(0, 200)}`, isRequired(name), depth, into);
    }
  const others = member(schema, 'additionalProperties');
  if (typeof others === 'object' && others !== null && depth <= MOST_DEPTH)
    addMembers(others, `${path === '' ? '' : `${path}.`}*`, depth + 1, into);
}

function addKey(schema: unknown, path: string, required: boolean, depth: number, into: Rows): void {
  const defaultValue = member(schema, 'default');
  into.rows.push({
    key: path,
    type: typeOf(schema),
    required,
    ...(defaultValue === undefined ? {} : { defaultValue: jsonText(defaultValue) }),
    constraints: constraintsOf(schema),
    title: localText(schema, 'title'),
    description: localText(schema, 'description'),
  });
  let inner = schema;
  let below = path;
  let level = depth + 1;
  for (; member(inner, 'items') !== undefined && level <= MOST_DEPTH; level++) {
    inner = member(inner, 'items');
    below += '[]';
  }
  addMembers(inner, below, level, into);
}

/** `string`, `array of object`, `array of array of integer`. */
function typeOf(schema: unknown): string {
  const parts: string[] = [];
  for (let inner = schema; parts.length < MOST_DEPTH; inner = member(inner, 'items')) {
    const type = member(inner, 'type');
    const name = Array.isArray(type) ? type.filter(each => typeof each === 'string').join(' | ') : type;
    const own = member(inner, 'properties') === undefined ? '' : 'object';
    parts.push(typeof name === 'string' && name !== '' ? name.slice(0, 60) : own);
    if (member(inner, 'items') === undefined) break;
  }
  return parts.filter(part => part !== '').join(' of ');
}

function constraintsOf(schema: unknown): ConfigRow['constraints'] {
  const found: (readonly [ConstraintKind, string])[] = [];
  const values = member(schema, 'enum') ?? member(member(schema, 'items'), 'enum');
  if (Array.isArray(values)) found.push(['enum', values.slice(0, 60).map(jsonText).join(', ')]);
  for (const kind of ['minimum', 'maximum', 'minLength', 'maxLength', 'minItems', 'maxItems'] as const) {
    const value = member(schema, kind);
    if (typeof value === 'number') found.push([kind, String(value)]);
  }
  for (const kind of ['pattern', 'format'] as const) {
    const value = member(schema, kind);
    if (typeof value === 'string') found.push([kind, value.slice(0, 300)]);
  }
  return found;
}

function jsonText(value: unknown): string {
  if (typeof value === 'string') return value.slice(0, MOST_TEXT);
  return (JSON.stringify(value) ?? '').slice(0, MOST_TEXT);
}

function exampleText(example: unknown): string | undefined {
  if (example === undefined || example === null) return undefined;
  if (typeof example === 'string') return example.trim() === '' ? undefined : example.trimEnd().slice(0, MOST_EXAMPLE);
  try {
    return stringify(example, { aliasDuplicateObjects: false }).trimEnd().slice(0, MOST_EXAMPLE);
  } catch {
    return undefined;
  }
}
