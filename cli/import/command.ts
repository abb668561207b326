import process from 'node:process';
import { Command } from 'commander';
import { printable } from '../../base/printable.ts';
import { plural } from '../../base/words.ts';
import { EXIT } from '../exit.ts';
import { addOptions } from '../options/declare.ts';
import { path } from '../options/environment.ts';
import { IMPORT_OPTIONS, type ImportFlags } from '../options/tables.ts';
import { printError, printJsonText } from '../render/print.ts';

export function importCommand(): Command {
  const command = new Command('import')
    .description(
      'Make a manifest from a plugin list of Higress: plugins.properties, its JSON snapshot, or an unmanaged lock.',
    )
    .argument('<file>', 'the plugin list', path);
  return addOptions(command, IMPORT_OPTIONS).action(run);
}

async function run(file: string, flags: ImportFlags): Promise<void> {
  const [{ readList }, { formatManifest, withSchema, writeManifest }] = await Promise.all([
    import('../../mirror/import/importList.ts'),
    import('../../mirror/import/writeManifest.ts'),
  ]);
  const { manifest, notes, lost } = await readList(file);
  if (flags.write) {
    await writeManifest(flags.manifest, manifest, { force: flags.force ?? false });
    const count = Object.keys(manifest.plugins).length;
    printError(`wrote ${printable(flags.manifest)}: ${plural(count, 'plugin')}\n`);
  } else printJsonText(formatManifest(await withSchema(flags.manifest, manifest)));
  for (const note of notes) printError(`${printable(`${file}, ${note}`)}\n`);
  if (lost > 0) process.exitCode = EXIT.failed;
}
