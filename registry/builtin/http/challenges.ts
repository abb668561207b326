/** One challenge of a WWW-Authenticate header. Scheme and parameter names are lower case. */
export interface Challenge {
  readonly scheme: string;
  readonly token68?: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/**
 * Returns all challenges of all WWW-Authenticate headers, in order (RFC 9110, 11.2, 11.3 and 11.6.1). A comma separates both
 * challenges and parameters, so a name is a parameter of the challenge before it only if "=" follows. Never throws: an
 * invalid part is skipped, because the next challenge may be valid.
 */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  if (header === undefined) return [];
  const lines = typeof header === 'string' ? [header] : header;
  return lines.flatMap(line => parseLine(line));
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const SPACE = /[ \t]*/y;
const SEPARATORS = /[ \t,]*/y;
const TOKEN68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
const BARE_VALUE = /[^ \t,"]*/y;
const REST_OF_ITEM = /(?:[^",]|"(?:[^"\\]|\\.)*"?)*/y;

interface OpenChallenge {
  readonly scheme: string;
  token68?: string;
  readonly parameters: Map<string, string>;
}

function parseLine(line: string): Challenge[] {
  const challenges: OpenChallenge[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(line);
    if (match !== null) at += match[0].length;
    return match;
  };
  while (true) {
    take(SEPARATORS);
    if (at >= line.length) return challenges;
    const name = take(TOKEN)?.[0].toLowerCase();
    if (name === undefined) {
      const before = at;
      take(REST_OF_ITEM);
      if (at === before) at += 1;
      continue;
    }
    const afterName = at;
    take(SPACE);
    const current = challenges.at(-1);
    if (line[at] === '=' && current !== undefined && current.token68 === undefined) {
      at += 1;
      take(SPACE);
      const quoted = take(QUOTED);
      const value = quoted === null ? take(BARE_VALUE)?.[0] : quoted[1]?.replace(/\\(.)/g, '$1');
      if (!current.parameters.has(name)) current.parameters.set(name, value ?? '');
      take(REST_OF_ITEM);
      continue;
    }
    const challenge: OpenChallenge = { scheme: name, parameters: new Map() };
    if (at > afterName) {
      const token68 = take(TOKEN68)?.[0];
      if (token68 !== undefined) challenge.token68 = token68;
    } else if (at < line.length && line[at] !== ',') {
      take(REST_OF_ITEM);
      continue;
    }
    challenges.push(challenge);
  }
}
