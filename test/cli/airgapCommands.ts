import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

const document = join(resolve(import.meta.dirname, '../..'), 'docs/airgap.md');

/**
 * The commands of docs/airgap.md, by way and side: `A bundle and a server, near`, then `… far`; the ways in containers that
 * follow under the same heading are `… near in containers` and `… far in containers`.
 */
export async function airgapCommands(): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  const sections = (await readFile(document, 'utf8')).split(/^## /m).slice(1);
  for (const section of sections.slice(0, 3)) {
    const [title = ''] = section.split('\n');
    const blocks = [...section.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block);
    blocks.forEach((block, at) => {
      found.set(`${title}, ${at % 2 === 0 ? 'near' : 'far'}${at < 2 ? '' : ' in containers'}`, block);
    });
  }
  return found;
}
