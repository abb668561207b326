import process from 'node:process';
import { InvalidArgumentError } from 'commander';
import { CODINGS, type Coding } from '../../tree/version/codings.ts';

/** Parses `gzip,br`, or `off`. A coding that is named twice counts once; their order does not matter. */
export function codings(text: string): readonly Coding[] {
  const named = text.split(',').map(part => part.trim());
  if (text.trim() === 'off') return [];
  const wrong = named.find(name => !CODINGS.some(coding => coding === name));
  if (wrong !== undefined)
    throw new InvalidArgumentError(`Expected off, or gzip, br and zstd separated by commas: ${JSON.stringify(wrong)}`);
  if (named.includes('zstd') && !hasZstd())
    throw new InvalidArgumentError(
      `zstd needs Node 22.15 or newer (this is ${process.version}). Leave it out: gzip and br work everywhere.`,
    );
  return CODINGS.filter(coding => named.includes(coding));
}

/** zlib is loaded only here: most runs of this program do not need it. */
function hasZstd(): boolean {
  return 'createZstdCompress' in process.getBuiltinModule('node:zlib');
}
