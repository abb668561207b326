import { Option } from 'commander';

/** `--format text|json`, the same in every command that has it. */
export function formatOption(): Option {
  return new Option('--format <kind>', 'what stdout gets')
    .env('PLUGIN_MIRROR_FORMAT')
    .choices(['text', 'json'])
    .default('text');
}
