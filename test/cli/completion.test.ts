import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { completionScript } from '../../cli/completion/command.ts';
import { buildProgram } from '../../cli/program.ts';

type Shell = 'bash' | 'zsh' | 'fish';

const program = buildProgram('');
const folder = mkdtempSync(join(tmpdir(), 'plugin-mirror-completion-'));
after(() => rmSync(folder, { recursive: true, force: true }));
writeFileSync(join(folder, 'list of mine.json'), '');
writeFileSync(
  join(folder, 'manifest.json'),
  JSON.stringify(
    {
      registry: 'r.example',
      plugins: { 'ai-proxy': ['2.0.3', '2.0.1'], 'ai-cache': { versions: ['1.0.0'] }, cors: '1' },
      mirrors: { 'ai-no': [] },
    },
    null,
    2,
  ),
);
for (const shell of ['bash', 'zsh', 'fish'] as const)
  writeFileSync(join(folder, `script.${shell}`), completionScript(program, shell));

/** Each asks a shell for its candidates: reads lines of what was typed, and prints `LINE <tab> CANDIDATE` for each. */
const ASKS: Readonly<Record<Shell, string>> = {
  bash: `source ./script.bash
[ "$(complete -p plugin-mirror)" = 'complete -o filenames -F _plugin_mirror plugin-mirror' ] || echo 'not registered'
while IFS= read -r line; do
  # The words as readline splits them: = is a word.
  split=\${line//=/ = }
  IFS=' ' read -ra COMP_WORDS <<<"$split"
  case $split in *' ') COMP_WORDS+=('') ;; esac
  COMP_CWORD=$(( \${#COMP_WORDS[@]} - 1 )) COMPREPLY=()
  _plugin_mirror
  for found in "\${COMPREPLY[@]}"; do printf '%s\\t%s\\n' "$line" "$found"; done
done`,
  fish: `source ./script.fish
while read -l line
  for found in (complete -C "$line")
    printf '%s\\t%s\\n' "$line" (string split \\t -- $found)[1]
  end
end`,
  // Completion needs the line editor, and that a terminal: the inner shell has one, and prints what it would offer.
  zsh: `zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner 'PROMPT= RPROMPT=; setopt no_beep; autoload -Uz compinit; compinit -u -D; source ./script.zsh
compadd () {
  if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return $?; fi
  local -a found; builtin compadd -A found "$@"
  local each; for each in $found; do print -r -- "<<$each>>"; done
  return 0
}
ask () { _main_complete; print -r -- "<<done>>" }
zle -C ask complete-word ask; bindkey "^I" ask; print -r -- "<<rea""dy>>"'
read-to () { local text; zpty -r inner text "*<<$1>>*"; print -r -- "$text" }
read-to ready >/dev/null
while IFS= read -r line; do
  # ^U removes the line before.
  zpty -w -n inner $'\\x15'"$line"$'\\t'
  for found in \${(f)"$(read-to done)"}; do
    [[ $found == *'<<'*'>>'* ]] && printf '%s\\t%s\\n' "$line" "\${\${found#*<<}%>>*}"
  done
done
zpty -d inner`,
};

/** Returns what a shell offers for each of these lines. */
function offered(shell: Shell, ...lines: readonly string[]): Map<string, string[]> {
  const { stdout, stderr, status } = spawnSync(
    shell,
    [...(shell === 'bash' ? ['--norc'] : shell === 'zsh' ? ['-f'] : []), '-c', ASKS[shell]],
    {
      encoding: 'utf8',
      cwd: folder,
      input: lines.map(line => `${line}\n`).join(''),
      timeout: 60_000,
      // bash warns of a locale that the machine does not have.
      env: { PATH: process.env.PATH, HOME: folder, LC_ALL: 'C', TERM: 'dumb' },
    },
  );
  assert.deepEqual([status, stderr], [0, ''], stdout);
  const found = new Map<string, string[]>(lines.map(line => [line, []]));
  for (const row of stdout.trim().split('\n')) {
    const [line = '', word = ''] = row.split('\t');
    const words = found.get(line);
    assert.ok(words !== undefined, row);
    if (word !== 'done') words.push(word);
  }
  return found;
}

function isInstalled(shell: Shell): boolean {
  return spawnSync(shell, ['-c', 'true']).status === 0;
}

describe('completion', () => {
  for (const shell of ['bash', 'zsh', 'fish'] as const)
    it(`works in ${shell}`, { skip: isInstalled(shell) ? false : `there is no ${shell}` }, () => {
      const p = 'plugin-mirror';
      const typed = [
        ...[
          'sy',
          'sync --froz',
          'sync --format ',
          'urls --format s',
          'serve --log-level ',
          'cache ',
          'cache clean --k',
        ],
        ...['bundle diff --e', 'completion ', 'help out', 'sync --tree plugins --re', 'verify ', 'push ', '--v'],
        ...['sync ai-', 'sync --only ai-', 'bundle --only c', 'check ai-'],
      ];
      const found = offered(shell, ...typed.map(rest => `${p} ${rest}`));
      const words = (rest: string) =>
        (found.get(`${p} ${rest}`) ?? []).filter(word => !word.startsWith('--help')).sort();
      assert.deepEqual(words('sy'), ['sync']);
      assert.deepEqual(words('sync --froz'), ['--frozen']);
      assert.deepEqual(words('sync --format '), ['json', 'text']);
      assert.deepEqual(words('urls --format s'), ['shell']);
      assert.deepEqual(words('serve --log-level '), ['error', 'info', 'warn']);
      assert.deepEqual(words('cache '), ['clean', 'ls']);
      assert.deepEqual(words('cache clean --k'), ['--keep']);
      assert.deepEqual(words('bundle diff --e'), ['--exit-code']);
      assert.deepEqual(words('completion '), ['bash', 'fish', 'zsh']);
      assert.deepEqual(words('help out'), ['outdated']);
      assert.deepEqual(
        words('sync --tree plugins --re').filter(word => !/^--(?:registry|retries|report)/.test(word)),
        ['--rehash'],
      );
      assert.ok(
        words('verify ').some(word => word.replaceAll('\\', '') === 'list of mine.json'),
        words('verify ').join(),
      );
      assert.ok(!words('push ').some(word => word.includes('mine')), 'push takes no file');
      assert.deepEqual(words('--v'), ['--version']);
      assert.deepEqual(words('sync ai-'), ['ai-cache', 'ai-proxy']);
      assert.deepEqual(words('sync --only ai-'), ['ai-cache', 'ai-proxy']);
      assert.deepEqual(words('bundle --only c'), ['cors']);
      assert.deepEqual(words('check ai-'), [], 'check takes no plugin');
    });

  it('has every command and no hidden option in each shell', () => {
    for (const shell of ['bash', 'zsh', 'fish'] as const) {
      const script = completionScript(program, shell);
      for (const command of program.commands) assert.ok(script.includes(command.name()), `${shell}: ${command.name()}`);
      assert.doesNotMatch(script, /max-queue/);
      assert.match(script, shell === 'fish' ? /-l url-pattern/ : /--url-pattern/);
    }
  });
});
