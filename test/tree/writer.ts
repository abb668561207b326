/**
 * Publishes into a tree in a loop until it is killed: `node writer.ts TREE WAIT_MS`. Every round replaces p 1.0.0 by other
 * bytes and adds a new version of p. Prints "open" when it holds the writer lock, otherwise the code of the refusal.
 */
import { openPublishingTree } from '../../tree/publish/openPublishingTree.ts';
import { publish, sample } from './fixture.ts';

const [treeDir = '', waitMs = '0'] = process.argv.slice(2);

try {
  const publishing = await openPublishingTree(treeDir, {
    waitMs: Number(waitMs),
    onWait: () => process.stdout.write('wait\n'),
  });
  process.stdout.write('open\n');
  process.stdin.once('data', () => void publishing.close().then(() => process.exit(0)));
  const first = `${process.pid}`;
  for (let round = 0; ; round++) {
    const files =
      round % 2 === 0 ? { 'spec.yaml': `${first} ${round}`, 'README.md': 'read me' } : { 'spec.yaml': `${round}` };
    const replaced = sample('p', '1.0.0', { seed: `${first} ${round}`, sizeBytes: 20_000 + (round % 7), files });
    await publish(publishing, replaced);
    const added = sample('p', `2.0.${round}-${first}`, { sizeBytes: 20_000 });
    await publish(publishing, added);
    const entries = [replaced, added].map(({ metadata }) => ({ metadata, pinned: false }));
    await publishing.writeCatalog(entries);
    await publishing.remove(added.metadata.name, added.metadata.version);
  }
} catch (error) {
  process.stdout.write(`${error instanceof Error && 'code' in error ? String(error.code) : String(error)}\n`);
  process.exitCode = 1;
}
