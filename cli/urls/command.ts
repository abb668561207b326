import { Command } from 'commander';
import { EXIT } from '../exit.ts';
import { addOptions, choice, file, parsed, several, type ValuesOf } from '../options/declare.ts';
import { baseUrl } from '../options/environment.ts';
import { LOCK } from '../options/tables.ts';
import { print, printJsonText } from '../render/print.ts';
import { withJsonErrors } from '../runCommand.ts';

const URLS_OPTIONS = {
  base: parsed(
    '--base <url>',
    'address of the server as gateways reach it',
    baseUrl,
    new URL('http://higress-plugin-server.higress-system.svc'),
  ),
  only: several('--only <glob>', 'only these plugins or versions (repeatable)'),
  manifest: file('--manifest <file>', 'the manifest', 'manifest.json'),
  lock: LOCK,
  tree: file('--tree <dir>', 'take the plugins of this tree instead of the manifest'),
  format: choice(
    '--format <kind>',
    'the file that the output is for',
    ['text', 'env', 'shell', 'compose', 'helm', 'wasmplugin', 'json'],
    'text',
  ),
} as const;

type UrlsFlags = ValuesOf<typeof URLS_OPTIONS>;

export function urlsCommand(): Command {
  const command = new Command('urls').description(
    'Print the settings that make Higress Console and Controller use the server, and the URL of every plugin.',
  );
  return addOptions(command, URLS_OPTIONS).action(run);
}

async function run({ base, only = [], manifest, lock, tree, format }: UrlsFlags): Promise<void> {
  const [{ readServedManifest, readServedTree }, { settingsText }] = await Promise.all([
    import('../../mirror/coverage/readServed.ts'),
    import('../../mirror/coverage/settingsText.ts'),
  ]);
  await withJsonErrors(format === 'json' ? 'json' : 'text', async () => {
    const { modules } = await (tree === undefined ? readServedManifest(manifest, lock) : readServedTree(tree));
    const text = settingsText({ base, modules, only, format });
    if (format === 'json') printJsonText(text);
    else print(text);
    return EXIT.good;
  });
}
