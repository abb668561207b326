import { Command, Option } from 'commander';
import { addOptions, choice, type Declared, file, type ValuesOf } from '../options/declare.ts';
import { path } from '../options/environment.ts';
import { BUNDLE, LOCK } from '../options/tables.ts';
import { withJsonErrors } from '../runCommand.ts';

// No variable: PLUGIN_MIRROR_MANIFEST is set for other commands, and would hide the tree.
const manifest: Declared<string | undefined> = {
  option: new Option('--manifest <file>', 'list this manifest and its lockfile instead of the tree').argParser(path),
};

const LIST_OPTIONS = {
  tree: file('--tree <dir>', 'the tree', 'plugins'),
  manifest,
  bundle: BUNDLE,
  lock: LOCK,
  format: choice('--format <kind>', 'format of the output on stdout', ['text', 'json'], 'text'),
} as const;

export function listCommand(): Command {
  const command = new Command('list').description(
    'List the plugins of a tree, a manifest or a bundle: versions, aliases, size, sha256 and origin.',
  );
  return addOptions(command, LIST_OPTIONS).action(run);
}

async function run(flags: ValuesOf<typeof LIST_OPTIONS>): Promise<void> {
  const { runList } = await import('./run.ts');
  await withJsonErrors(flags.format, () => runList(flags));
}
