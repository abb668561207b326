import picomatch from 'picomatch';
import { Refusal } from './refusal.ts';

export class SelectionInvalid extends Refusal {
  readonly code = 'SELECTION_INVALID';
}

/** Longer globs, and ones with more alternatives, are typing errors. */
const MOST_CHARACTERS = 1000;
const MOST_ALTERNATIVES = 1000;
/** What picomatch may repeat: the time that its regular expression takes grows with the length of a name to this power. */
const MOST_REPEATS = 3;

/** Letters, digits and signs that mean themselves, `*` and `?`; no part that is `**`, which matches several parts. */
const PLAIN = /^(?!(?:.*\/)?\*\*+(?:\/|$))[\w.~+@:/*?-]*$/;
const BRACES = /\{([^{}]*,[^{}]*)\}/;

/**
 * Returns a matcher for a glob in picomatch's syntax, whose time is bounded whatever the glob and the text: `*` within one
 * part of a path, `?`, `{a,b}` are matched in linear time; classes, `**` and extended globs are left to picomatch, which is
 * given few of them. @throws SelectionInvalid
 */
export function globMatcher(glob: string): (text: string) => boolean {
  if (glob.length > MOST_CHARACTERS) throw tooLong(glob, `${glob.length} characters`);
  const alternatives = expand(glob).map(matcherOf);
  return text => alternatives.some(matches => matches(text));
}

function matcherOf(glob: string): (text: string) => boolean {
  if (PLAIN.test(glob)) return plainMatcher(glob);
  const repeats = glob.match(/\*+|[+!?@*]\(/g)?.length ?? 0;
  if (repeats > MOST_REPEATS || /[+*]\([^)]*[*+?(]/.test(glob)) throw tooComplex(glob);
  return picomatch(glob);
}

/** `{a,b}c` → `ac`, `bc`. Braces without a comma, such as ranges, are left to picomatch. @throws SelectionInvalid */
function expand(glob: string): string[] {
  const done: string[] = [];
  const open = [glob];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    // A sign of negation is for all alternatives together.
    const found = /[()[\]\\!]/.test(next) ? null : BRACES.exec(next);
    if (found === null) done.push(next);
    else {
      const [whole, inner = ''] = found;
      const after = next.slice(found.index + whole.length);
      for (const part of inner.split(',')) open.push(`${next.slice(0, found.index)}${part}${after}`);
    }
    if (done.length + open.length > MOST_ALTERNATIVES)
      throw tooLong(glob, `more than ${MOST_ALTERNATIVES} alternatives`);
  }
  return done;
}

/** As picomatch, `*` and `?` match no "/", and none that begins a part matches a leading dot or an empty part. */
function plainMatcher(glob: string): (text: string) => boolean {
  const parts = glob.replace(/^\.\//, '').split('/');
  return text => {
    const names = text.split('/');
    return names.length === parts.length && parts.every((part, at) => matchesPart(part, names[at] ?? ''));
  };
}

/** After a mismatch only the last `*` takes one character more: an earlier one could not do better. */
function matchesPart(part: string, name: string): boolean {
  if (/^[*?]/.test(part) && (name === '' || name.startsWith('.'))) return false;
  let [at, from, star, taken] = [0, 0, -1, 0];
  while (from < name.length) {
    if (part[at] === '*') {
      star = at;
      taken = from;
      at += 1;
    } else if (at < part.length && (part[at] === '?' || part[at] === name[from])) {
      at += 1;
      from += 1;
    } else if (star >= 0) {
      at = star + 1;
      taken += 1;
      from = taken;
    } else return false;
  }
  while (part[at] === '*') at += 1;
  return at === part.length;
}

function tooLong(glob: string, found: string): SelectionInvalid {
  return new SelectionInvalid('A glob is too long', {
    subject: glob.slice(0, 60),
    expected: `at most ${MOST_CHARACTERS} characters and ${MOST_ALTERNATIVES} alternatives`,
    found,
    hint: 'Give several globs: each may be an option of its own.',
  });
}

function tooComplex(glob: string): SelectionInvalid {
  return new SelectionInvalid(`The glob ${glob} could take very long to match`, {
    subject: glob,
    expected: `at most ${MOST_REPEATS} of *, **, ?(…), *(…), +(…), @(…) and !(…) in one glob, none within *(…) and +(…)`,
    found: glob,
    hint: 'Use several simpler globs: NAME, NAME-*, {NAME,NAME}; any number of * is fine without classes, ** and (…).',
  });
}
