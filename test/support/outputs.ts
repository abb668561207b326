import assert from 'node:assert/strict';
import * as v from 'valibot';
import { outputOf, outputSchemas } from '../../scripts/generate/outputSchemas.ts';

/** Asserts that what a command printed with `--format json` follows the schema of that command. */
export function requireOutput(args: readonly string[], stdout: string): void {
  const name = outputOf(args);
  if (name === undefined || !/(?:^| )--format[ =]json(?: |$)/.test(args.join(' ')) || !stdout.endsWith('}\n')) return;
  const json = JSON.parse(stdout) as object;
  const kind = 'error' in json ? 'failure' : 'bundle' in json ? 'verify-bundle' : name;
  const { issues = [] } = v.safeParse(outputSchemas[kind], json);
  assert.deepEqual(
    issues.map(issue => `${v.getDotPath(issue)}: ${issue.message}`),
    [],
    `plugin-mirror ${args.join(' ')} follows docs/schemas/${kind}.schema.json`,
  );
}
