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

/** A command with its whole name: `sync`, `cache ls`. */
interface Completed {
  readonly name: string;
  readonly about: string;
  readonly options: readonly Option[];
  readonly below: readonly string[];
}

export function completionScript(program: Command, shell: 'bash' | 'zsh' | 'fish'): string {
  const commands = program.commands.flatMap(command => completed(command, ''));
  const top = program.commands.map(command => command.name());
  return { bash: bashScript, zsh: zshScript, fish: fishScript }[shell](top, commands);
}

function completed(command: Command, above: string): Completed[] {
  const name = `${above}${command.name()}`;
  const about = command.description().split(/[.:]( |$)/)[0] ?? '';
  const options = command.options.filter(({ hidden }) => !hidden);
  const below = command.commands.map(each => each.name());
  return [{ name, about, options, below }, ...command.commands.flatMap(each => completed(each, `${name} `))];
}

function isPath(option: Option): boolean {
  return /<(?:file|dir)>/.test(option.flags);
}

function bashScript(top: readonly string[], commands: readonly Completed[]): string {
  const words = commands.map(
    ({ name, options, below }) =>
      `    ${quote(name)}) words=${quote([...below, ...options.map(({ long }) => long), '--help'].join(' '))} ;;`,
  );
  const values = new Map<string, string>();
  for (const { options } of commands)
    for (const { long, argChoices } of options)
      if (long && argChoices !== undefined) values.set(long, argChoices.join(' '));
  const choices = [...values].map(
    ([long, list]) => `    ${long}) COMPREPLY=($(compgen -W ${quote(list)} -- "$cur")); return ;;`,
  );
  const paths = [...new Set(commands.flatMap(({ options }) => options.filter(isPath).map(({ long }) => long)))];
  return `# bash completion for plugin-mirror
_plugin_mirror() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} command='' word words
  case $prev in
${choices.join('\n')}
    ${paths.join('|')}) COMPREPLY=($(compgen -f -- "$cur")); return ;;
  esac
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in -*) ;; *) case "$command" in '') command=$word ;; cache) command="cache $word" ;; esac ;; esac
  done
  case $command in
    '') words=${quote([...top, 'help', '--help', '--version'].join(' '))} ;;
    completion) words='bash zsh fish' ;;
${words.filter(line => !line.includes("'completion')")).join('\n')}
    *) words='' ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  [ -n "$command" ] || return
  case $cur in -*) ;; *) COMPREPLY+=($(compgen -f -- "$cur")) ;; esac
}
complete -o filenames -F _plugin_mirror plugin-mirror
`;
}

function zshScript(top: readonly string[], commands: readonly Completed[]): string {
  const about = new Map(commands.map(command => [command.name, command.about]));
  const list = top.map(name => `    ${quote(`${name}:${about.get(name) ?? ''}`)}`);
  const cases = commands.map(({ name, options, below }) => {
    const specs = options.map(option => {
      const { long, argChoices, flags, description } = option;
      const text = description.replace(/[[\]:]/g, '\\$&');
      const value = argChoices
        ? `:value:(${argChoices.join(' ')})`
        : isPath(option)
          ? ':file:_files'
          : flags.includes('<')
            ? ':value: '
            : flags.includes('[')
              ? '::value: '
              : '';
      return quote(`${long}[${text}]${value}`);
    });
    const argument =
      name === 'completion'
        ? "'1:shell:(bash zsh fish)'"
        : below.length > 0
          ? quote(`1:command:(${below.join(' ')})`)
          : "'*:file:_files'";
    return `    ${quote(name)}) _arguments ${[...specs, argument].join(' ')} ;;`;
  });
  return `#compdef plugin-mirror
_plugin_mirror() {
  local -a commands
  commands=(
${list.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local name=$words[2]
  shift words; (( CURRENT-- ))
  if [[ $name == cache ]] && (( CURRENT > 2 )); then
    name="cache $words[2]"
    shift words; (( CURRENT-- ))
  fi
  case $name in
${cases.join('\n')}
  esac
}
compdef _plugin_mirror plugin-mirror
`;
}

function fishScript(top: readonly string[], commands: readonly Completed[]): string {
  const lines = commands.flatMap(({ name, about, options, below }) => {
    const [first = '', second] = name.split(' ');
    const where =
      second === undefined
        ? `__fish_seen_subcommand_from ${first}`
        : `__fish_seen_subcommand_from ${first}; and __fish_seen_subcommand_from ${second}`;
    const own =
      second === undefined
        ? [`complete -c plugin-mirror -n __fish_use_subcommand -f -a ${first} -d ${quote(about)}`]
        : [];
    const children = below.map(each => `complete -c plugin-mirror -n ${quote(where)} -f -a ${each}`);
    const shells = name === 'completion' ? [`complete -c plugin-mirror -n ${quote(where)} -f -a 'bash zsh fish'`] : [];
    const flags = options.map(option => {
      const { long = '', argChoices, description } = option;
      const value = argChoices
        ? ` -x -a ${quote(argChoices.join(' '))}`
        : isPath(option)
          ? ' -r -F'
          : option.required
            ? ' -x'
            : '';
      return `complete -c plugin-mirror -n ${quote(where)} -l ${long.slice(2)}${value} -d ${quote(description)}`;
    });
    return [...own, ...children, ...shells, ...flags];
  });
  return `# fish completion for plugin-mirror: ${top.length} commands\n${lines.join('\n')}\n`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
