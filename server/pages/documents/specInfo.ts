import { parse } from 'yaml';
import type { Language } from '../site/words.ts';

/** The block has about 1 KB in real files. */
export const MOST_INFO_CHARACTERS = 8 * 1024;
const MOST_TEXT = 2000;

/** The `info` of a spec.yaml. Everything is optional, because the file comes from an image. */
export interface SpecInfo {
  readonly title?: LocalText;
  readonly description?: LocalText;
  readonly category?: string;
  readonly gatewayMinVersion?: string;
}

export type LocalText = Readonly<Partial<Record<Language, string>>>;

/** Returns the text in this language, else in the other one. */
export function inLanguage(text: LocalText | undefined, language: Language): string | undefined {
  return text?.[language] ?? text?.en ?? text?.zh;
}

/** Returns the block `info:`, a small part of the file, or the whole text if it has no such block at its top level. */
export function infoBlock(text: string): string {
  return /^(?:\ufeff)?info:[^\n]*\n(?:(?:[ \t#][^\n]*)?\r?\n|[ \t#][^\n]*$)*/m.exec(text)?.[0] ?? text;
}

/** Parses the block `info:` of a spec.yaml. */
export function infoOf(text: string): SpecInfo {
  const source = infoBlock(text);
  if (source.length > MOST_INFO_CHARACTERS) return {};
  let info: unknown;
  try {
    info = member(parse(source, { maxAliasCount: 20, logLevel: 'silent' }), 'info');
  } catch {
    return {};
  }
  const category = shortText(member(info, 'category'));
  const gatewayMinVersion = shortText(member(info, 'gatewayMinVersion'));
  return {
    title: localText(info, 'title'),
    description: localText(info, 'description'),
    ...(category === undefined ? {} : { category: category.toLowerCase() }),
    ...(gatewayMinVersion === undefined ? {} : { gatewayMinVersion }),
  };
}

/** `title` and `x-title-i18n: { zh-CN: …, en-US: … }`, as Higress Console reads them. */
export function localText(value: unknown, key: string): LocalText {
  const translations = member(value, `x-${key}-i18n`);
  const text: { en?: string; zh?: string } = {};
  if (typeof translations === 'object' && translations !== null)
    for (const [tag, translation] of Object.entries(translations)) {
      const language = /^(en|zh)(?:[-_]|$)/i.exec(tag)?.[1]?.toLowerCase();
      const found = shortText(translation);
      if ((language === 'en' || language === 'zh') && found !== undefined) text[language] ??= found;
    }
  const plain = shortText(member(value, key));
  if (plain !== undefined) text[text.en === undefined ? 'en' : 'zh'] ??= plain;
  return text;
}

/** An own member, so that no key of a file reaches the prototype of objects. */
export function member(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string, unknown>)[key];
}

export function shortText(value: unknown): string | undefined {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string' || text.trim() === '') return undefined;
  return text.trim().slice(0, MOST_TEXT);
}
