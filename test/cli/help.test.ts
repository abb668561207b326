import assert from 'node:assert/strict';
import process from 'node:process';
import { describe, it } from 'node:test';
import type { Command } from 'commander';
import { buildProgram } from '../../cli/program.ts';
import { openScene } from '../support/cli.ts';

const LINES_OF_A_SCREEN = 56;

function commandsOf(program: Command): Command[] {
  return program.commands.flatMap(command => [command, ...commandsOf(command)]);
}

/** The values of a command's options for this command line, without running the command. */
async function valuesOf(name: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const program = buildProgram('');
  const command = program.commands.find(each => each.name() === name);
  assert.ok(command);
  command.action(() => {});
  const former = Object.keys(env).map(key => [key, process.env[key]] as const);
  Object.assign(process.env, env);
  try {
    await program.parseAsync(['node', 'plugin-mirror', name, ...args]);
  } finally {
    for (const [key, value] of former) {
      if (value === undefined) delete process.env[key];
      else process.env[key] = value;
    }
  }
  return command.opts();
}

describe('--help', () => {
  it('fits a screen, has three examples of commands that exist, and leads to the other options', () => {
    const program = buildProgram('');
    for (const command of program.commands) {
      let help = '';
      command.configureOutput({ writeOut: text => (help += text), getOutHelpWidth: () => 80 });
      command.outputHelp();
      const lines = help.split('\n');
      assert.ok(lines.length <= LINES_OF_A_SCREEN, `${command.name()}: ${lines.length} lines`);
      const examples = lines.filter(line => /^ +(?:.*\| )?plugin-mirror \w/.test(line));
      assert.equal(examples.length, 3, `${command.name()}: ${examples.join('|')}`);
      for (const example of examples) {
        const [, name] = /plugin-mirror (\w+)/.exec(example) ?? [];
        assert.equal(name, command.name());
        for (const [flag] of example.matchAll(/--[a-z-]+/g))
          assert.ok(
            commandsOf(program).some(each => each.options.some(({ long }) => long === flag)),
            `${example}: ${flag}`,
          );
      }
      const hidden = command.options.filter(
        ({ hidden: isHidden, long }) => !isHidden && !new RegExp(`^ +${long} `, 'm').test(help),
      );
      if (hidden.length > 0) assert.match(help, new RegExp(`--help-all +show ${hidden.length} more options`));
    }
  });

  it('shows every option with its variable by --help-all', () => {
    const program = buildProgram('');
    const sync = program.commands.find(command => command.name() === 'sync');
    let help = '';
    sync?.configureOutput({ writeOut: text => (help += text), getOutHelpWidth: () => 100 });
    assert.throws(() => program.parse(['node', 'plugin-mirror', 'sync', '--help-all']), { code: 'commander.help' });
    for (const { long, hidden } of sync?.options ?? []) assert.ok(hidden || help.includes(`${long}`), long);
    assert.match(help, /More options:[\s\S]*--timeout[\s\S]*PLUGIN_MIRROR_TIMEOUT/);
    assert.doesNotMatch(help, /--out /);
  });

  it('takes --help-all in every command', () => {
    const names = buildProgram('').commands.map(command => [command.name()]);
    for (const words of names) {
      const program = buildProgram('');
      for (const command of [program, ...commandsOf(program)]) command.configureOutput({ writeOut: () => undefined });
      const code = words[0] === 'help' ? 'commander.unknownOption' : 'commander.help';
      assert.throws(() => program.parse(['node', 'plugin-mirror', ...words, '--help-all']), { code }, words.join(' '));
    }
  });
});

describe('a command that is meant otherwise', () => {
  /** Returns what the command line prints as an error, and the code of the error. */
  async function refused(...args: readonly string[]): Promise<string> {
    const program = buildProgram('');
    let text = '';
    const { outputError } = program.configureOutput();
    for (const command of [program, ...commandsOf(program)]) {
      const { outputError: own = outputError } = command.configureOutput();
      const writeErr = (part: string) => (text += part);
      command.configureOutput({ writeErr, outputError: message => own?.(message, writeErr) });
      if (command !== program) command.action(() => {});
    }
    await assert.rejects(
      program.parseAsync(['node', 'plugin-mirror', ...args]),
      ({ name }) => name === 'CommanderError',
    );
    return text;
  }

  it('has the nearest one after help, without the whole help', async () => {
    const text = await refused('help', 'snyc');
    assert.match(text, /^error: unknown command 'snyc'\n\(Did you mean sync\?\)/);
    assert.doesNotMatch(text, /Usage:/);
    assert.match(await refused('help', 'nothing-like-it'), /^error: unknown command 'nothing-like-it'\n(?!\(Did)/);
    assert.match(await refused('help', 'help'), /^Usage: plugin-mirror \[options\] \[command\]/);
  });

  it('has the option that names a tree, or a bundle', async () => {
    for (const name of ['list', 'serve', 'check', 'outdated', 'urls'])
      assert.match(
        await refused(name, './plugins'),
        new RegExp(`\\(Did you mean plugin-mirror ${name} --tree \\./plugins\\?\\)`),
      );
    assert.match(await refused('list', 'plugins.tar'), /plugin-mirror list --bundle plugins\.tar\?/);
    assert.match(await refused('list', 'my tree'), /plugin-mirror list --tree DIR\?/);
    assert.doesNotMatch(await refused('init', 'x'), /--tree/);
  });

  it('is refused where --tree and --out name different folders', async () => {
    for (const args of [
      ['--tree', 'a', '--out', 'b'],
      ['--out', 'b', '--tree', 'a'],
    ]) {
      const text = await refused('sync', ...args);
      assert.match(text, /^error: --out b and --tree a name different folders/);
    }
    assert.equal((await valuesOf('sync', ['--tree', 'a', '--out', './a'])).tree, './a');
    assert.equal((await valuesOf('sync', ['--tree', 'a', '--tree', 'b'])).tree, 'b');
  });
});

describe('--tree', () => {
  it('is the name of the folder in every command, and --out the same', async () => {
    for (const name of ['sync', 'check', 'outdated']) {
      assert.equal((await valuesOf(name, [])).tree, 'plugins');
      assert.equal((await valuesOf(name, ['--tree', 'a'])).tree, 'a');
      assert.equal((await valuesOf(name, ['--out', 'a'])).tree, 'a');
      assert.equal((await valuesOf(name, [], { PLUGIN_MIRROR_OUT: 'b' })).tree, 'b');
      assert.equal((await valuesOf(name, [], { PLUGIN_MIRROR_OUT: 'b', PLUGIN_MIRROR_TREE: 'c' })).tree, 'c');
      assert.equal((await valuesOf(name, ['--tree', 'a'], { PLUGIN_MIRROR_OUT: 'b' })).tree, 'a');
      assert.equal((await valuesOf(name, ['--out', 'a'], { PLUGIN_MIRROR_TREE: 'c' })).tree, 'a');
    }
  });
});

describe('sync NAME', () => {
  it('means --only NAME', { timeout: 60_000 }, async t => {
    const scene = await openScene(t);
    for (const name of ['a', 'b', 'c']) scene.push(name, '1.0.0');
    await scene.list({ a: '1.0.0', b: '1.0.0', c: '1.0.0' });
    const { report } = await scene.report('--only', 'a', '--', 'b/1.0.0');
    assert.deepEqual(
      report.plugins.map(({ name }) => name),
      ['a', 'b'],
    );
    const empty = await scene.sync('');
    assert.equal(empty.code, 2, empty.stderr);
    await scene.list({ 'ai-proxy': '1.0.0' });
    assert.match((await scene.sync('ai-proxi/1.0.0')).stderr, /Did you mean ai-proxy\?/);
  });
});
