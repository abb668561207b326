import { type FileHandle, open } from 'node:fs/promises';
import { onFile } from '../../../base/errno.ts';
import { Refusal } from '../../../base/refusal.ts';
import { EXPORT_SECTION, readAt, readExports, readSections } from '../../../tree/version/moduleSections.ts';
import { nameContent, SNIFF_BYTES } from './moduleContent.ts';

export class ModuleInvalid extends Refusal {
  readonly code = 'MODULE_INVALID';
}

export interface ModuleInspection {
  readonly sizeBytes: number;
  /** `0.1.0`, `0.2.0` or `0.2.1`; null if the module exports none of these Proxy-Wasm ABI versions. */
  readonly abi: string | null;
  readonly warnings: readonly string[];
}

/**
 * Checks that a file is a Wasm core module and finds its Proxy-Wasm ABI version, without compiling it: the preamble, the chain
 * of sections (core spec 5.5.2), which must end exactly with the file, and the names in the export section (5.5.10). Only
 * section headers and the export section are read.
 * @param way where the module comes from, an image or a local build, for the hint @throws ModuleInvalid
 */
export async function inspectModule(
  path: string,
  subject: string,
  way: 'pushed' | 'built' = 'pushed',
): Promise<ModuleInspection> {
  const file = await open(path, 'r');
  try {
    return await onFile(path, inspect(file, subject, way));
  } finally {
    await file.close();
  }
}

const MAX_SECTIONS = 10_000;
const MAX_EXPORT_SECTION_BYTES = 16 * 1024 * 1024;
const DATA_SECTION = 11;
const FUNCTION_KIND = 0;
// The order of sections, each at most once; custom sections (0) may be anywhere. 13 is the tag section, 12 the data count.
const SECTION_ORDER = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, DATA_SECTION];
// The versions that Envoy's host knows; it uses the first one among the exports.
const ABI_EXPORTS: ReadonlyMap<string, string> = new Map([
  ['proxy_abi_version_0_1_0', '0.1.0'],
  ['proxy_abi_version_0_2_0', '0.2.0'],
  ['proxy_abi_version_0_2_1', '0.2.1'],
]);

type Damaged = (found: string) => ModuleInvalid;

async function inspect(file: FileHandle, subject: string, way: 'pushed' | 'built'): Promise<ModuleInspection> {
  const damaged: Damaged = found =>
    new ModuleInvalid(`${subject}: plugin.wasm is a damaged Wasm module: ${found}`, {
      subject,
      expected: 'a chain of sections that ends exactly with the file',
      found,
      hint:
        way === 'pushed'
          ? 'The image has the module like this: build the module and push it again.'
          : 'The built file is damaged: build the module again.',
    });
  const sizeBytes = (await file.stat()).size;
  const head = await readAt(file, 0, Math.min(SNIFF_BYTES, sizeBytes));
  const kind = nameContent(head);
  if (kind !== 'a Wasm module')
    throw new ModuleInvalid(`${subject}: plugin.wasm is ${kind}, not a Wasm module`, {
      subject,
      expected: 'a Wasm core module (00 61 73 6d 01 00 00 00)',
      found: kind,
      hint:
        kind === 'a Wasm component'
          ? 'The gateway runs core modules only: build the plugin for wasm32-wasip1 (or wasm32-unknown-unknown), not as a component.'
          : way === 'pushed'
            ? 'Check what was pushed: build the plugin to Wasm and push the module itself.'
            : 'Check what was built: the file must be the Wasm module itself, not an archive of it.',
    });
  let exported: Buffer | undefined;
  let rank = -1;
  for await (const { id, offset, start, length } of readSections(file, sizeBytes, MAX_SECTIONS, damaged)) {
    if (id !== 0) {
      const next = SECTION_ORDER.indexOf(id);
      if (next < 0) throw damaged(`the section at byte ${offset} has the unknown id ${id}`);
      if (next <= rank) throw damaged(`section ${id} at byte ${offset} is out of order or repeated`);
      rank = next;
    }
    if (id === EXPORT_SECTION) {
      if (length > MAX_EXPORT_SECTION_BYTES)
        throw damaged(`its export section claims ${length} bytes; ${MAX_EXPORT_SECTION_BYTES} are the most`);
      exported = await readAt(file, start, length);
    }
  }
  return { sizeBytes, ...(await readAbi(exported, subject, damaged)) };
}

async function readAbi(
  exported: Buffer | undefined,
  subject: string,
  damaged: Damaged,
): Promise<{ abi: string | null; warnings: string[] }> {
  let abi: string | null = null;
  let unknown: string | undefined;
  if (exported !== undefined)
    await readExports(exported, damaged, (name, kind) => {
      if (kind !== FUNCTION_KIND || name.length > 64) return;
      const text = name.toString('latin1');
      abi ??= ABI_EXPORTS.get(text) ?? null;
      if (/^proxy_abi_version_\d+_\d+_\d+$/.test(text) && !ABI_EXPORTS.has(text)) unknown ??= text;
    });
  if (abi !== null) return { abi, warnings: [] };
  const found =
    unknown === undefined ? 'exports no proxy_abi_version_…' : `exports ${unknown}, which Envoy does not know`;
  return { abi, warnings: [`${subject}: plugin.wasm ${found}: a gateway may refuse to load it`] };
}
