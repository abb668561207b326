import type { Diagnostic } from '../errors.ts';
import { printable } from './printable.ts';

/** What an error answer's body says: the distribution-spec's error codes if it has them, else its first words. */
export interface ErrorWords {
  readonly diagnostics: readonly Diagnostic[];
  /** One line for a person; undefined if the body says nothing. */
  readonly said: string | undefined;
  readonly isHtml: boolean;
}

const LENGTH = 300;

/** Reads `{"errors":[{code,message,detail}]}` (distribution-spec, Error codes) and the token server's `{"details"}` kin. */
export function readErrorWords(body: Buffer, contentType: string | undefined): ErrorWords {
  const text = body.toString('utf8').trim();
  const isHtml = looksLikeHtml(text, contentType);
  if (isHtml) return { diagnostics: [], said: undefined, isHtml };
  const json = parseJson(text);
  const diagnostics = diagnosticsOf(json);
  if (diagnostics.length > 0) {
    const lines = diagnostics.map(({ code, message }) => (message === '' ? code : `${code}: ${message}`));
    return { diagnostics, said: printable(lines.join('; '), LENGTH), isHtml };
  }
  const words = json === undefined ? text : plainWords(json);
  return { diagnostics, said: printable(words, LENGTH) || undefined, isHtml };
}

export function looksLikeHtml(text: string, contentType: string | undefined): boolean {
  return (
    /^\s*text\/html|^\s*application\/xhtml/i.test(contentType ?? '') || /^\ufeff?\s*<(?:!doctype html|html)/i.test(text)
  );
}

function diagnosticsOf(json: unknown): Diagnostic[] {
  const errors = member(json, 'errors');
  if (!Array.isArray(errors)) return [];
  return errors.slice(0, 5).flatMap((error: unknown): Diagnostic[] => {
    const code = printable(textOf(member(error, 'code')), 60);
    const message = printable(textOf(member(error, 'message')), LENGTH);
    return code === '' && message === '' ? [] : [{ code: code || 'UNKNOWN', message }];
  });
}

function plainWords(json: unknown): string {
  for (const name of ['error_description', 'details', 'message', 'error']) {
    const words = textOf(member(json, name));
    if (words !== '') return words;
  }
  return '';
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function textOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
