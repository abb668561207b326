import { Argument, type Command, Command as CommandOf, type Option } from 'commander';
import { print } from '../render/print.ts';

/** `completion bash`: prints a script for the shell, made from the commands and their options. */
export function completionCommand(): Command {
  return new CommandOf('completion')
    .description('Print a script that lets a shell complete commands, options and their values.')
    .addArgument(new Argument('<shell>', 'the shell').choices(['bash', 'zsh', 'fish']))
    .action((shell: 'bash' | 'zsh' | 'fish', _flags: unknown, command: Command) => {
      print(completionScript(command.parent ?? command, shell));
    });
}

/** What the shell offers: these words, files, or the names of the plugins of the manifest. */
type Offer = readonly string[] | 'files' | 'names';

/** What can follow the name of a command. */
interface Completed {
  /** The whole name: empty for the program itself, `sync`, `cache ls`. */
  readonly name: string;
  readonly about: string;
  readonly options: readonly CompletedOption[];
  readonly below: readonly Completed[];
  /** As an argument. */
  readonly offer: Offer;
}

interface CompletedOption {
  /** `--tree`. */
  readonly long: string;
  readonly about: string;
  readonly value: 'none' | 'optional' | 'required';
  readonly offer: Offer;
  readonly isRepeatable: boolean;
}

export function completionScript(program: Command, shell: 'bash' | 'zsh' | 'fish'): string {
  const below = program.commands.map(command => completed(command, ''));
  const names = below.map(({ name }) => name);
  const help = { name: 'help', about: 'Show the help of a command', options: [], below: [], offer: names };
  const version = { ...HELP, long: '--version', about: 'show the version' };
  const root = { name: '', about: '', options: [HELP, version], below: [...below, help], offer: [] };
  return { bash: bashScript, zsh: zshScript, fish: fishScript }[shell](withAllBelow(root));
}

function completed(command: Command, above: string): Completed {
  const name = `${above}${command.name()}`;
  const { registeredArguments } = command;
  return {
    name,
    about: command.description().split(/[.:]( |$)/)[0] ?? '',
    options: [...command.options.filter(({ hidden }) => !hidden).map(completedOption), HELP],
    below: command.commands.map(each => completed(each, `${name} `)),
    offer: registeredArguments.some(argument => /^(?:files?|bundle|old|new)$/.test(argument.name()))
      ? 'files'
      : registeredArguments.some(argument => argument.name() === 'plugins')
        ? 'names'
        : registeredArguments.flatMap(({ argChoices = [] }) => argChoices),
  };
}

const HELP: CompletedOption = { long: '--help', about: 'show help', value: 'none', offer: [], isRepeatable: false };

function completedOption(option: Option): CompletedOption {
  const { long, flags, description, argChoices = [], required, optional, variadic } = option;
  const takesFiles = /<(?:file|dir|bundle)>/.test(flags) || /^--(?:out|images) <path>/.test(flags);
  return {
    long: long ?? '',
    about: description,
    value: required ? 'required' : optional ? 'optional' : 'none',
    offer: takesFiles ? 'files' : long === '--only' || (long === '--update' && optional) ? 'names' : argChoices,
    isRepeatable: variadic || description.includes('(repeatable'),
  };
}

/**
 * The body of a function of each shell: prints the names of the plugins of manifest.json in the current folder. It reads the
 * lines that have the indentation of the first one below "plugins", as init, import and formatters write them; a manifest
 * on one line has none.
 */
const NAMES_OF_MANIFEST = `awk '
    /"plugins"[ \\t]*:[ \\t]*[{][ \\t\\r]*$/ { inside = 1; next }
    inside && /[^ \\t\\r]/ {
      match($0, /^[ \\t]*/)
      if (!depth) depth = RLENGTH
      if (RLENGTH < depth) exit
      if (RLENGTH == depth && match($0, /"[A-Za-z0-9._-]+"[ \\t]*:/)) {
        name = substr($0, RSTART + 1)
        sub(/".*/, "", name)
        print name
      }
    }' manifest.json 2>/dev/null`;

function withAllBelow(command: Completed): Completed[] {
  return [command, ...command.below.flatMap(withAllBelow)];
}

/** The last word of a command's name. */
function lastWord({ name }: Completed): string {
  return name.split(' ').at(-1) ?? '';
}

/** Names of commands that have others below them, as a pattern of `case`: the words before them decide what is completed. */
function namesOf(commands: readonly Completed[]): string {
  return commands.flatMap(({ name }) => (name === '' ? [] : [quote(name)])).join('|');
}

function bashScript(commands: readonly Completed[]): string {
  const words = commands.map(({ name, options, below, offer }) => {
    const own = typeof offer === 'string' ? [] : offer;
    const list = [...below.map(lastWord), ...own, ...options.map(({ long }) => long)].join(' ');
    const names = offer === 'names' ? '; words="$(_plugin_mirror_names | tr "\\n" " ") $words"' : '';
    return `    ${quote(name)}) words=${quote(list)}; files=${offer === 'files' ? 'yes' : "''"}${names} ;;`;
  });
  const values = commands.flatMap(({ name, options }) =>
    options.flatMap(({ long, offer, value }) => {
      // After an option whose value may be left out, a command's words and options may follow as well.
      if (value === 'none' || (value === 'optional' && (offer === 'names' || offer.length === 0))) return [];
      return [`    ${quote(`${name} ${long}`)}) ${bashAction(offer)}; return ;;`];
    }),
  );
  return `# bash completion for plugin-mirror
_plugin_mirror_names() {
  ${NAMES_OF_MANIFEST}
}
_plugin_mirror() {
  local IFS=$'\\n'
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} command='' word words files
  # bash splits --option=value in three words.
  if [ "$cur" = = ]; then cur=''
  elif [ "$prev" = = ] && [ "$COMP_CWORD" -ge 2 ]; then prev=\${COMP_WORDS[COMP_CWORD-2]}; fi
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "\${command:+$command }$word" in ${namesOf(commands)}) command="\${command:+$command }$word" ;; esac
  done
  case "$command $prev" in
${values.join('\n')}
  esac
  case $command in
${words.join('\n')}
  esac
  COMPREPLY=($(IFS=' '; compgen -W "$words" -- "$cur"))
  case $cur in -*) ;; *) [ -z "$files" ] || COMPREPLY+=($(compgen -f -- "$cur")) ;; esac
}
complete -o filenames -F _plugin_mirror plugin-mirror
`;
}

function bashAction(offer: Offer): string {
  if (offer === 'files') return 'COMPREPLY=($(compgen -f -- "$cur"))';
  if (offer === 'names') return `COMPREPLY=($(IFS=' '; compgen -W "$(_plugin_mirror_names | tr '\\n' ' ')" -- "$cur"))`;
  return offer.length === 0 ? ':' : `COMPREPLY=($(IFS=' '; compgen -W ${quote(offer.join(' '))} -- "$cur"))`;
}

function zshScript(commands: readonly Completed[]): string {
  const cases = commands.map(({ name, options, below, offer }) => {
    const specs = options.map(({ long, about, offer: taken, value, isRepeatable }) => {
      const text = about.replace(/[[\]:\\]/g, '\\$&');
      const colons = value === 'optional' ? '::' : ':';
      const action = zshAction(taken);
      return quote(`${isRepeatable ? '*' : ''}${long}[${text}]${value === 'none' ? '' : `${colons}value:${action}`}`);
    });
    const described = below.map(each => `${lastWord(each)}\\:${quoteInside(each.about)}`);
    const argument =
      described.length > 0
        ? [quote(`1:command:((${described.join(' ')}))`)]
        : typeof offer === 'string'
          ? [quote(`*:${offer === 'files' ? 'file' : 'plugin'}:${zshAction(offer)}`)]
          : offer.length > 0
            ? [quote(`1:word:${zshAction(offer)}`)]
            : [];
    return `    ${quote(name)}) _arguments ${[...specs, ...argument].join(' ')} ;;`;
  });
  return `#compdef plugin-mirror
_plugin-mirror-names() {
  local -a names
  names=(\${(f)"$(${NAMES_OF_MANIFEST})"})
  compadd -a names
}
_plugin-mirror() {
  local name='' word
  # What follows the command's name is completed, as if that were the first word.
  while (( CURRENT > 2 )); do
    word="\${name:+$name }$words[2]"
    case $word in
      ${namesOf(commands)}) name=$word; shift words; (( CURRENT-- )) ;;
      *) break ;;
    esac
  done
  case $name in
${cases.join('\n')}
  esac
}
if [[ $funcstack[1] == _plugin-mirror ]]; then
  _plugin-mirror "$@"
else
  (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
  compdef _plugin-mirror plugin-mirror
fi
`;
}

function zshAction(offer: Offer): string {
  if (typeof offer === 'string') return offer === 'files' ? '_files' : '_plugin-mirror-names';
  return offer.length > 0 ? `(${offer.join(' ')})` : ' ';
}

function fishScript(commands: readonly Completed[]): string {
  const lines = commands.flatMap(({ name, options, below, offer }) => {
    const rule = `complete -c plugin-mirror -n ${quote(`__plugin_mirror_at ${quote(name)}`)}`;
    const flags = options.map(({ long, about, value, offer: taken }) => {
      const words = value === 'required' ? fishWords(taken) : '';
      const given = words !== '' ? ` -x -a ${words}` : taken === 'files' ? ' -r -F' : ' -x';
      return `${rule} -l ${long.slice(2)}${value === 'required' ? given : ''} -d ${quote(about)}`;
    });
    const words = fishWords(offer);
    return [
      ...below.map(each => `${rule} -f -a ${lastWord(each)} -d ${quote(each.about)}`),
      ...(offer === 'files' ? [`${rule} -F`] : words === '' ? [] : [`${rule} -f -a ${words}`]),
      ...flags,
    ];
  });
  return `# fish completion for plugin-mirror
function __plugin_mirror_names -d 'The plugins of manifest.json'
  ${NAMES_OF_MANIFEST}
end
function __plugin_mirror_at -d 'Whether the words before the cursor name this command'
  set -l name ''
  for word in (commandline -opc)[2..-1]
    set -l longer (string trim -- "$name $word")
    contains -- $longer ${namesOf(commands).replaceAll('|', ' ')}; and set name $longer
  end
  test "$name" = "$argv[1]"
end
complete -c plugin-mirror -f
${lines.join('\n')}
`;
}

/** Empty for files, which fish offers by an option of its own, and for nothing. */
function fishWords(offer: Offer): string {
  if (offer === 'names') return "'(__plugin_mirror_names)'";
  return offer === 'files' || offer.length === 0 ? '' : quote(offer.join(' '));
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** For a description in a list of _arguments, which evaluates the list as words of a command line. */
function quoteInside(text: string): string {
  return text.replace(/[^\w/.,-]/g, '\\$&');
}
