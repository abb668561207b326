import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { type ErrorJson, listing, openScene, parsed, type Ran, type Scene } from '../support/cli.ts';
import { sample, slow } from '../support/slow.ts';

/** Runs sync on a manifest that is wrong, and sees that nothing was touched and nobody was asked. */
async function refused(t: TestContext, text: string): Promise<Ran> {
  const scene = await openScene(t);
  scene.push('a', '1.0.0');
  await scene.write('manifest.json', text.replaceAll('REGISTRY', scene.registry.host));
  const before = await untouched(scene);
  const ran = await scene.sync();
  assert.equal(ran.code, 2, ran.stderr);
  assert.equal(ran.stdout, '');
  assert.deepEqual(await untouched(scene), before);
  assert.equal(scene.registry.count(), 0);
  return ran;
}

function untouched({ dir }: Scene): Promise<Record<string, string>> {
  return listing(dir);
}

const wrong = (plugins: unknown) => JSON.stringify({ registry: 'REGISTRY', plugins });

describe('a wrong manifest ends in 2 and changes nothing', { concurrency: 4 }, () => {
  it('reports all mistakes together, each with its path, what was found and what is allowed', async t => {
    const { stderr } = await refused(
      t,
      wrong({
        a: ['1.0.0', '../../etc'],
        '..': '1.0.0',
        b: { versions: ['1.0.0'], aliases: { '1.0.0': '1.0.0', '3.0.0': '4.0.0' } },
        c: { verions: ['1.0.0'] },
      }),
    );
    assert.match(stderr, /MANIFEST_INVALID/);
    for (const told of ['plugins.a[1]', '../../etc', '".."', 'plugins.b.aliases', '4.0.0', 'verions', '"versions"'])
      assert.ok(stderr.includes(told), `${told} is not told in ${stderr}`);
    assert.doesNotMatch(stderr, /\bat .*\.js:\d+/);
  });

  const versions = ['..', '.', '', 'a/b', '%2f', '1.0\u0000', '1.0\n', '\u202e1', 'x'.repeat(129), '.hidden', 'a\\b'];
  it('refuses versions that could leave the tree', slow, async t => {
    const { stderr } = await refused(t, wrong({ a: versions }));
    for (const index of versions.keys()) assert.ok(stderr.includes(`plugins.a[${index}]`), `[${index}] in ${stderr}`);
    for (const raw of ['\u0000', '\u202e']) assert.ok(!stderr.includes(raw), 'what is hostile reaches the terminal');
  });

  it('refuses names that could leave the tree', slow, async t => {
    const names = ['..', '.', 'a/b', '%2e%2e', 'a\u0007', 'x'.repeat(129), '.git', 'index.json'];
    const { stderr } = await refused(t, wrong(Object.fromEntries(names.map(name => [name, '1.0.0']))));
    assert.match(stderr, new RegExp(`: ${names.length} problems`));
  });

  it('refuses a duplicate key', slow, async t => {
    const { stderr } = await refused(t, '{"registry":"REGISTRY","plugins":{"a":"1.0.0","b":"1.0.0","a":"2.0.0"}}');
    assert.match(stderr, /plugins\.a\b/);
    assert.match(stderr, /"a" 2 times/);
  });

  it('refuses aliases that shadow a version, lead nowhere or go in a circle', slow, async t => {
    const { stderr } = await refused(
      t,
      wrong({ a: { versions: ['1.0.0'], aliases: { '1.0.0': '1.0.0', x: 'y', y: 'x', z: 'nowhere' } } }),
    );
    for (const place of ['aliases["1.0.0"]', 'aliases.x', 'aliases.z']) assert.ok(stderr.includes(place), stderr);
    assert.match(stderr, /circle|circular/);
  });

  it('names the nearest known key of an unknown one', slow, async t => {
    const { stderr } = await refused(t, '{"registri":"REGISTRY","plugins":{"a":{"versions":["1"],"alias":{}}}}');
    assert.match(stderr, /registri/);
    assert.match(stderr, /"registry"/);
    assert.match(stderr, /"aliases"/);
  });

  it('refuses text after the end, and text that ends too early', slow, async t => {
    assert.match((await refused(t, '{"plugins":{"a":"1"}} trailing')).stderr, /trailing|after the end/i);
    assert.match((await refused(t, '{"plugins":{"a":"1"}')).stderr, /MANIFEST_INVALID/);
    assert.match((await refused(t, '')).stderr, /MANIFEST_INVALID/);
  });

  it('suggests how to get a manifest if there is none', async t => {
    const scene = await openScene(t);
    const ran = await scene.sync('--manifest', 'nowhere.json');
    assert.equal(ran.code, 2);
    assert.match(ran.stderr, /MANIFEST_MISSING.*nowhere\.json/);
    assert.match(ran.stderr, /import/);
    const folder = await scene.sync('--manifest', '.');
    assert.equal(folder.code, 2);
    assert.match(folder.stderr, /MANIFEST_UNREADABLE.*it is a folder/);
  });

  it('prints one JSON object with every problem under --format json', async t => {
    const scene = await openScene(t);
    await scene.write('manifest.json', wrong({ a: ['..', '..'] }));
    const ran = await scene.sync('--format', 'json');
    assert.equal(ran.code, 2);
    const { error } = parsed<{ error: ErrorJson & { problems: { place: string }[] } }>(ran);
    assert.equal(error.code, 'MANIFEST_INVALID');
    assert.ok(error.problems.some(problem => problem.place === 'plugins.a[0]'));
  });

  it('does so for every command that reads it', async t => {
    const scene = await openScene(t);
    await scene.write('manifest.json', wrong({ a: '..' }));
    for (const command of sample([['check'], ['outdated'], ['sync', '--dry-run'], ['sync', '--frozen']])) {
      const ran = await scene.run(command);
      assert.equal(ran.code, 2, `${command}: ${ran.stderr}`);
      assert.match(ran.stderr, /MANIFEST_INVALID/);
    }
  });
});
