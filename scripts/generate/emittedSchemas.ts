import { toJsonSchema } from '@valibot/to-json-schema';
import type { GenericSchema } from 'valibot';
import { lockfileSchema } from '../../mirror/lockfile/schema.ts';
import { manifestSchema } from '../../mirror/manifest/schema.ts';
import { coverageSchema } from './coverageSchema.ts';
import { releaseSchema } from './higressRelease.ts';
import { outputSchemas } from './outputSchemas.ts';

/** The JSON Schema files of the repository, name → text. */
export function emittedSchemas(): Readonly<Record<string, string>> {
  return {
    'manifest.schema.json': emit(manifestSchema),
    'manifest.lock.schema.json': emit(lockfileSchema),
    'coverage.schema.json': emit(coverageSchema),
    'higress/release.schema.json': emit(releaseSchema),
    ...Object.fromEntries(
      Object.entries(outputSchemas).map(([name, schema]) => [`docs/schemas/${name}.schema.json`, emit(schema)]),
    ),
  };
}

/** Draft 7, which editors support best. */
function emit(schema: GenericSchema): string {
  return `${JSON.stringify(toJsonSchema(schema, { target: 'draft-07' }), null, 2)}\n`;
}
