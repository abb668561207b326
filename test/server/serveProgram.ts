import process from 'node:process';
import { Command } from 'commander';
import { serveCommand } from '../../cli/commands/serve.ts';
import { finish } from '../../cli/exit.ts';

// The serve command by itself, from its sources: what the tests of its signals start.
const program = new Command('plugin-mirror')
  .version('0.0.0-test')
  .exitOverride()
  .addCommand(serveCommand().exitOverride());
try {
  await program.parseAsync(process.argv);
} catch (error) {
  finish(error);
}
