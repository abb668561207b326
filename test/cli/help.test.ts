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
