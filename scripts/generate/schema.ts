import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { emittedSchemas } from './emittedSchemas.ts';

/** Writes the JSON Schemas that editors and reviewers use; run it after a change of a schema. */
const root = new URL('../../', import.meta.url);
for (const [file, text] of Object.entries(emittedSchemas())) {
  await writeFile(fileURLToPath(new URL(file, root)), text);
  console.log(file);
}
