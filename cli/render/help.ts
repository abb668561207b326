import { type Command, Help, Option } from 'commander';

/** The sections of --help, in their order, with the options that most users need. --help-all shows the others too. */
const SECTIONS: Readonly<Record<string, string>> = {
  'What:':
    '--manifest --tree --only --update --prune --rehash --higress --plugin --env-file --url --base --against --fix ' +
    '--latest --url-pattern --images --pre --all --write --force --list --keep --since --split --out --lock-only',
  'Where from:': '--from --registry --plain-http --ca-file --cache-dir',
  'How:':
    '--frozen --no-frozen --dry-run --host --port --base-path --trusted-proxies --tls-cert --tls-key --auth-token-file',
  'Output and help:': '--format --quiet --exit-code --log-level --progress --access-log --status --help --help-all',
};
const MORE = 'More options:';
const SECTION_OF = new Map(
  Object.entries(SECTIONS).flatMap(([title, flags]) => flags.split(' ').map(flag => [flag, title])),
);
/** Commands with fewer options show all of them. */
const FEW_OPTIONS = 12;

/** The sections of `plugin-mirror --help`, with one short line for each command. */
const COMMANDS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'Mirror and serve:': {
    init: 'make a manifest for releases of Higress',
    import: "make a manifest from Higress' plugins.properties",
    sync: 'pull the plugins of the manifest into a folder',
    serve: 'serve the folder to gateways over HTTP',
    bundle: 'pack the images into one file, for a network without registries',
    push: 'copy the images to another registry',
    urls: 'print the settings for Higress Console and Controller',
  },
  'Inspect:': {
    coverage: 'which plugins of a cluster would get 404?',
    check: 'do manifest, lockfile, folder and registry agree?',
    outdated: 'which plugins have newer versions?',
    list: 'what is in the folder?',
    verify: 'is every byte in the folder right?',
  },
  'Tools:': {
    doctor: 'test the connection to each registry, step by step',
    cache: 'list or remove what is kept between runs',
    completion: 'complete commands in bash, zsh or fish',
  },
};

/** Three examples for each command. */
const EXAMPLES: Readonly<Record<string, readonly (readonly [line: string, meaning: string])[]>> = {
  init: [
    ['init --write', 'a manifest for the newest Higress'],
    ['init --higress 2.2.5 --higress 2.2.3', 'print one for two releases'],
    ["init --plugin 'ai-*' --write", 'only some plugins'],
  ],
  sync: [
    ['sync', 'everything in manifest.json, into plugins/'],
    ["sync ai-proxy 'key-*'", 'only these plugins'],
    ['sync --dry-run', 'print what would be downloaded'],
  ],
  bundle: [
    ['bundle --out plugins.tar', 'the images of manifest.lock.json'],
    ['bundle --out new.tar --since plugins.tar', 'only what changed'],
    ['bundle --out plugins.tar --split 2G', 'in parts'],
  ],
  push: [
    ['push harbor.example.com/plugins', 'the images of manifest.lock.json'],
    ['push localhost:5000 --from plugins.tar', 'those of a bundle'],
    ['push localhost:5000 --dry-run', 'print what would be pushed'],
  ],
  serve: [
    ['serve', 'plugins/ at http://localhost:8080/'],
    ['serve --tree /data --base-path /wasm', 'another folder, below a path'],
    ["serve --url-pattern '/wasm-plugins/${name}.wasm'", 'further paths'],
  ],
  urls: [
    ['urls', 'settings and URLs, for the usual Service'],
    ['urls --base http://mirror.example --format env', 'lines for an .env file'],
    ["urls --only 'ai-*' --format wasmplugin", 'WasmPlugin resources'],
  ],
  list: [
    ['list', 'the plugins in plugins/'],
    ['list --tree /data --format json', 'as JSON'],
    ['list --manifest manifest.json', 'those of a manifest'],
  ],
  check: [
    ['check', 'compare everything with the registry'],
    ['check --rehash', 'also hash every published file'],
    ['check --format json', 'for a script; exits 3 if anything differs'],
  ],
  verify: [
    ['verify', 'hash every file of plugins/'],
    ['verify --lock manifest.lock.json', 'and compare the digests'],
    ['verify --tree /data --format json', 'another folder, as JSON'],
  ],
  outdated: [
    ['outdated', 'plugins with newer versions'],
    ['outdated --all', 'plugins that are up to date too'],
    ['outdated --pre', 'pre-releases too'],
  ],
  import: [
    ['import plugins.properties', 'print the manifest'],
    ['import plugins.properties --write', 'write manifest.json'],
    ['import snapshot.json --write --manifest m.json', 'from a JSON snapshot'],
  ],
  doctor: [
    ['doctor', 'every registry of manifest.json'],
    ['doctor harbor.example.com/plugins/cors:2.0.4', 'one image'],
    ['doctor --registry localhost:5000', 'a mirror'],
  ],
  cache: [
    ['cache ls', 'what is kept between runs'],
    ['cache clean', 'remove all of it'],
    ['cache clean --keep 500', 'keep the newest 500 MiB'],
  ],
  completion: [
    ['completion bash > /etc/bash_completion.d/plugin-mirror', 'bash'],
    ['completion zsh > "${fpath[1]}/_plugin-mirror"', 'zsh'],
    ['completion fish > ~/.config/fish/completions/plugin-mirror.fish', 'fish'],
  ],
};

/** Commands that show every option in this process, because --help-all was given. */
const showingAll = new WeakSet<Command>();

/** Groups the options of a command in its help, hides those that few users need, and adds --help-all and the examples. */
export function arrangeHelp(command: Command): void {
  const examples = EXAMPLES[command.name()];
  if (examples !== undefined) command.addHelpText('after', () => examplesText(examples));
  for (const [title, commands] of Object.entries(COMMANDS)) {
    const summary = command.parent?.parent === null ? commands[command.name()] : undefined;
    if (summary !== undefined) command.summary(summary).helpGroup(title);
  }
  command.addHelpOption(new Option('-h, --help', 'show help').helpGroup('Output and help:'));
  for (const option of command.options) option.helpGroup(SECTION_OF.get(option.long ?? '') ?? MORE);
  const rare = command.options.filter(option => !option.hidden && !SECTION_OF.has(option.long ?? ''));
  command.configureHelp({
    sortSubcommands: false,
    visibleOptions: shown => {
      const all = Help.prototype.visibleOptions.call(new Help(), shown);
      return isShort(shown) ? all.filter(option => !rare.includes(option)) : all;
    },
    argumentDescription: ({ argChoices, description }) =>
      argChoices === undefined ? description : `${description} (${argChoices.join(', ')})`,
    optionDescription: option => {
      const { argChoices, defaultValue, defaultValueDescription, description, envVar } = option;
      const usual = defaultValueDescription ?? (isShown(defaultValue) ? String(defaultValue) : undefined);
      const notes = [
        argChoices?.join(', '),
        usual === undefined ? undefined : `default: ${usual}`,
        isShort(command) || envVar === undefined ? undefined : `env: ${envVar}`,
      ];
      const note = notes.filter(text => text !== undefined).join('; ');
      return note === '' ? description : `${description} (${note})`;
    },
    groupItems: (unsorted, visible, titleOf) => {
      const groups = Help.prototype.groupItems.call(new Help(), unsorted, visible, titleOf as never) as Map<
        string,
        never[]
      >;
      const rank = (title: string) => [...Object.keys(SECTIONS), MORE].indexOf(title);
      return new Map([...groups].sort(([one], [other]) => rank(one) - rank(other)));
    },
  });
  // --help-all is hidden where --help shows everything.
  const isWhole = rare.length === 0 || command.options.length < FEW_OPTIONS;
  const about = `show ${rare.length} more options, and the variable of each`;
  command.addOption(new Option('--help-all', about).helpGroup('Output and help:').hideHelp(isWhole));
  command.on('option:help-all', () => {
    showingAll.add(command);
    command.help();
  });

  function isShort(shown: Command): boolean {
    return !showingAll.has(shown) && command.options.length >= FEW_OPTIONS;
  }
}

function isShown(value: unknown): boolean {
  return (typeof value === 'string' && value !== '') || typeof value === 'number' || value instanceof URL;
}

function examplesText(examples: readonly (readonly [line: string, meaning: string])[]): string {
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, meaning]) => `  plugin-mirror ${line.padEnd(width)}  ${meaning}`);
  return `\nExamples:\n${lines.join('\n')}\n`;
}
