import type { CatalogVersion } from '../../../tree/catalog.ts';
import type { Language } from '../site/words.ts';

/** A README in one language. */
export interface ReadmeFile {
  readonly name: string;
  readonly language: Language;
}

/**
 * Returns the READMEs of a version, one for each language. In Higress' images README.md is Chinese and README_EN.md English;
 * without a second file README.md may have either language.
 */
export function readmesOf({ files }: CatalogVersion): readonly ReadmeFile[] {
  const names = files.map(({ name }) => name).filter(name => /^README(?:[._-][\w.-]+)?\.md$/i.test(name));
  const found = new Map<Language, string>();
  for (const name of names) {
    const tag = /^README[._-](en|zh)(?:[-_]\w+)?\.md$/i.exec(name)?.[1]?.toLowerCase();
    if (tag === 'en' || tag === 'zh') found.set(tag, found.get(tag) ?? name);
  }
  const plain = names.find(name => /^README\.md$/i.test(name));
  if (plain !== undefined) {
    const free: Language = found.has('zh') ? 'en' : 'zh';
    if (!found.has(free)) found.set(free, plain);
  }
  const [other] = names;
  if (found.size === 0 && other !== undefined) found.set('en', other);
  return [...found]
    .map(([language, name]) => ({ name, language }))
    .sort((one, two) => (one.language < two.language ? -1 : 1));
}
