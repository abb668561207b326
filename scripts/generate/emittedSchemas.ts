import { z } from 'zod';
import { lockSchema } from '../../mirror/lockfile/schema.ts';
import { manifestSchema } from '../../mirror/manifest/schema.ts';

/** The JSON Schema files of the repository, name → text. */
export function emittedSchemas(): Readonly<Record<string, string>> {
  return {
    'manifest.schema.json': emit(manifestSchema),
    'manifest.lock.schema.json': emit(lockSchema),
  };
}

/** Draft 7: what editors know best. */
function emit(schema: z.ZodType): string {
  return `${JSON.stringify(z.toJSONSchema(schema, { target: 'draft-7', io: 'input' }), null, 2)}\n`;
}
