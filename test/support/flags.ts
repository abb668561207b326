import assert from 'node:assert/strict';
import process from 'node:process';
import { buildProgram } from '../../cli/program.ts';

/**
 * What a command's action would be given for this command line and these variables, without starting a process. Nothing is
 * printed. @throws CommanderError where the command line itself is refused (exit code 2)
 */
export function readFlags<Flags>(args: readonly string[], env: Readonly<Record<string, string>> = {}): Flags {
  const program = buildProgram('');
  const command = program.commands.find(each => each.name() === args[0]);
  assert.ok(command, `no command ${args[0]}`);
  let flags: Flags | undefined;
  for (const each of [program, command]) each.configureOutput({ writeOut: () => {}, writeErr: () => {} });
  command.action(() => {
    flags = command.opts() as Flags;
  });
  const before = Object.entries(process.env).filter(([name]) => name.startsWith('PLUGIN_MIRROR_'));
  const forget = (): void => {
    for (const name of Object.keys(process.env)) if (name.startsWith('PLUGIN_MIRROR_')) delete process.env[name];
  };
  forget();
  Object.assign(process.env, env);
  try {
    program.parse(args, { from: 'user' });
  } finally {
    forget();
    Object.assign(process.env, Object.fromEntries(before));
  }
  assert.ok(flags, 'the command was not run');
  return flags;
}
