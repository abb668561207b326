import { Command } from 'commander';
import { printable } from '../../base/printable.ts';
import { plural } from '../../base/words.ts';
import { action, addOptions, file, several, text, type ValuesOf } from '../options/declare.ts';
import { OptionConflict } from '../options/errors.ts';
import { print, printError, printJsonText } from '../render/print.ts';

const INIT_OPTIONS = {
  higress: several(
    '--higress <release>',
    'release of Higress whose plugins the manifest gets, such as 2.2.5 (repeatable; default: the newest)',
  ),
  plugin: several('--plugin <glob>', 'only plugins whose name matches (repeatable; default: all)'),
  registry: text('--registry <host[/prefix]>', 'registry that has the images (default: that of Higress)'),
  write: action('--write', 'write the manifest instead of printing it'),
  manifest: file('--manifest <file>', 'the file that --write writes', 'manifest.json'),
  force: action('--force', 'replace an existing manifest'),
  dockerfile: action('--dockerfile', 'print a Dockerfile for a folder with a manifest and its lockfile, and exit'),
  list: action('--list', 'print the known releases of Higress and exit'),
} as const;

type InitFlags = ValuesOf<typeof INIT_OPTIONS>;

export function initCommand(): Command {
  const command = new Command('init').description(
    'Make a manifest for releases of Higress, with every path that their Console, Controller and all-in-one image request.',
  );
  return addOptions(command, INIT_OPTIONS).action(run);
}

async function run(flags: InitFlags, { parent }: Command): Promise<void> {
  const { higress = [], plugin, registry, write, manifest, force = false, list, dockerfile } = flags;
  if (dockerfile) {
    if (write || force)
      throw new OptionConflict(`--dockerfile and ${write ? '--write' : '--force'} contradict each other`, {
        expected: '--dockerfile, which prints a Dockerfile, or --write, which writes a manifest',
        found: 'both',
        hint: 'Run plugin-mirror init --write first, and then plugin-mirror init --dockerfile > Dockerfile.',
      });
    print(await (await import('./dockerfile.ts')).dockerfileFor(manifest, parent?.version() ?? ''));
    return;
  }
  const [releases, { initManifest }, { formatManifest, withSchema, writeManifest }, { parsePluginManifest }] =
    await Promise.all([
      import('../../mirror/coverage/requests/higressReleases.ts'),
      import('../../mirror/coverage/initManifest.ts'),
      import('../../mirror/import/writeManifest.ts'),
      import('../../mirror/manifest/readManifest.ts'),
    ]);
  const data = await releases.readHigressData();
  if (list) {
    const rows = data.releases.map(({ release, plugins }) => `${release.padEnd(16)} ${plugins.length} plugins`);
    print(`${rows.join('\n')}\n`);
    return;
  }
  const made = initManifest({
    data,
    releases: releases.chooseReleases(data, higress),
    ...(registry === undefined ? {} : { registry }),
    ...(plugin === undefined ? {} : { plugins: plugin }),
  });
  const written = formatManifest(made);
  // A registry that no manifest may name is refused with the words of the manifest.
  await parsePluginManifest(written, { file: manifest });
  if (!write) {
    printJsonText(formatManifest(await withSchema(manifest, made)));
    return;
  }
  await writeManifest(manifest, made, { force });
  const count = Object.keys(made.plugins).length;
  printError(`wrote ${printable(manifest)}: ${plural(count, 'plugin')}; plugin-mirror sync fetches them\n`);
}
