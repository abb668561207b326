import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { printableValue } from '../../base/printable.ts';
import { ofFailure, ofSync } from '../../cli/report/ciReport.ts';
import { annotations, codeQuality, junit, markdown, withPositions, writeReport } from '../../cli/report/writeReport.ts';
import { renderProblems } from '../../cli/sync/summary.ts';
import { parsePluginManifest } from '../../mirror/manifest/readManifest.ts';
import type { Outcome, SyncReport } from '../../mirror/report.ts';
import { RegistryRefused } from '../../registry/errors.ts';
import { openScene, parsed } from '../support/cli.ts';
import { LONGEST_TURN_MS, usualTurn } from '../support/longestTurn.ts';
import { slow } from '../support/slow.ts';

const outcome = (more: Partial<Outcome>): Outcome => ({
  name: 'a',
  version: '1.0.0',
  status: 'kept',
  reference: 'registry.example.com/plugins/a:1.0.0',
  warnings: [],
  ...more,
});

const sampleReport: SyncReport = {
  tree: '/tree',
  outcomes: [
    outcome({ status: 'fetched', digest: 'sha256:new', previousDigest: 'sha256:old' }),
    outcome({ version: '2.0.0', status: 'fetched', digest: 'sha256:first' }),
    outcome({ version: '0.9.0', status: 'aliased', aliasOf: '1.0.0' }),
    outcome({ name: 'b', status: 'failed', error: new Error('<script> & `code` | "quotes"\n% ::error::, 50%') }),
    outcome({ name: 'c', status: 'failed', error: new Error('<script> & `code` | "quotes"\n% ::error::, 50%') }),
  ],
  drift: [
    {
      name: 'd',
      version: '1.0.0',
      reference: 'registry.example.com/plugins/d:1.0.0',
      lockedDigest: 'sha256:1',
      foundDigest: 'sha256:2',
    },
  ],
  extras: [{ name: 'e', version: '1.0.0', removed: true }],
  unverified: [],
  problems: [],
  interrupted: false,
  bytesDownloaded: 0,
  requests: 0,
  durationMs: 0,
  published: [],
};

describe('a report for CI', () => {
  const report = ofSync('manifest.json', sampleReport);

  it('in Markdown has old and new digests, and nothing of a registry as markup', () => {
    const text = markdown(report);
    assert.ok(text.includes('| Updated | a 1.0.0 | `sha256:old` | `sha256:new` |'), text);
    assert.ok(text.includes('| Added | a 2.0.0 |  | `sha256:first` |'));
    assert.ok(text.includes('| Alias | a 0.9.0 |  | `1.0.0` |'));
    assert.ok(text.includes('| Removed | e 1.0.0 |'));
    assert.match(text, /❌ `INTERNAL` \*\*b 1\.0\.0\*\* \(and 1 more\): &lt;script> &amp; \\`code\\` \\\| "quotes" %/);
    assert.match(text, /⚠️ `TAG_MOVED` \*\*d 1\.0\.0\*\*/);
  });

  it('in JUnit has a case for each version and a failure for each error', () => {
    const text = junit(report);
    assert.match(text, /<testsuites tests="5" failures="2" errors="0">/);
    assert.match(text, /<testcase classname="plugin-mirror sync" name="a 1\.0\.0"\/>/);
    assert.match(text, /<failure type="INTERNAL" message="&lt;script&gt; &amp; `code` \| &quot;quotes&quot;/);
    assert.doesNotMatch(junit(ofFailure('x', 'm', new Error('\u0000\u001b[31m'))), /[\u0000\u001b]/);
  });

  it('for GitLab has a path, a line and a fingerprint that no run changes', () => {
    const rows = JSON.parse(codeQuality(report)) as { fingerprint: string; location: object; severity: string }[];
    assert.deepEqual(rows[0]?.location, { path: 'manifest.json', lines: { begin: 1 } });
    assert.equal(new Set(rows.map(({ fingerprint }) => fingerprint)).size, 3);
    assert.equal(codeQuality(report), codeQuality(ofSync('manifest.json', sampleReport)));
  });

  it('as a file has no controls, bidirectional marks or commands of CI services of a registry', async t => {
    const folder = await mkdtemp(join(tmpdir(), 'report-'));
    t.after(() => rm(folder, { recursive: true }));
    const evil = '\u001b[31m\u009b2J\u202e\u2066\u200b\u2028\r\n::error::x\n##vso[task.x]\u{e0041}';
    const hostile = ofSync('manifest.json', {
      ...sampleReport,
      outcomes: [
        outcome({ status: 'failed', error: new Error(`before ${evil}`) }),
        outcome({ version: evil, warnings: [evil], digest: evil, previousDigest: evil, status: 'fetched' }),
      ],
    });
    for (const name of ['r.md', 'r.xml', 'r.json']) {
      const file = join(folder, name);
      await writeReport(hostile, { file, annotate: false, workspace: undefined });
      const text = await readFile(file, 'utf8');
      assert.ok(text.includes('before'), name);
      assert.doesNotMatch(text, /[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}]|^\s*::error::|##vso\[/mu, name);
    }
  });

  it('for GitHub escapes what would end a command, and joins findings of one cause', () => {
    const lines = annotations({ ...report, manifest: 'a,b:c.json' })
      .trimEnd()
      .split('\n');
    assert.equal(lines.length, 2);
    assert.equal(
      lines[0],
      '::error file=a%2Cb%3Ac.json,title=INTERNAL b 1.0.0 and 1 more::<script> & `code` | "quotes"%0A%25 ::error::, 50%25',
    );
  });

  it('names the line of each mistake in the manifest, and of each plugin that failed', async t => {
    const dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-report-'));
    t.after(() => rm(dir, { recursive: true, force: true }));
    const manifest = join(dir, 'manifest.json');
    await writeFile(
      manifest,
      '{"plugins": {\n  "b": "1.0.0",\n  "c": { "versions": [\n    "1.0.0"] },\n "x y": 7\n}}\n',
    );
    const lines = async (findings: Parameters<typeof withPositions>[0]) =>
      (await withPositions(findings, manifest)).map(({ line, column }) => `${line}:${column}`);
    const errors = report.findings.filter(({ level }) => level === 'error');
    assert.deepEqual(await lines(errors), ['2:3', '4:5']);
    const error = await parsePluginManifest(await readFile(manifest, 'utf8'), { file: manifest }).catch(it => it);
    const mistakes = ofFailure('plugin-mirror sync', manifest, error).findings;
    assert.deepEqual([...new Set(mistakes.map(({ line }) => line))], [5]);
    assert.ok(mistakes.every(({ code }) => code === 'MANIFEST_INVALID'));
  });
});

describe('ten thousand failures', slow, () => {
  const failed = Array.from({ length: 10_000 }, (_, at) =>
    outcome({
      name: `p${at}`,
      status: 'failed',
      error: new RegistryRefused(`nothing listens at r${at % 2}.example:443`, { hint: '' }),
    }),
  );
  const plugins = Object.fromEntries(failed.map(({ name, version }) => [name, [version]]));

  it('are printed without blocking signals', async () => {
    const turn = await usualTurn(async () => {
      const text = renderProblems(
        printableValue({ ...sampleReport, outcomes: failed, problems: [], drift: [] }),
        false,
      );
      assert.match(text, /10000 versions of 10000 plugins: p0 1\.0\.0, .* and 9997 more/);
    });
    assert.ok(turn <= LONGEST_TURN_MS, `${turn} ms`);
  });

  for (const format of ['md', 'xml', 'json'])
    it(`are reported as ${format} without blocking signals`, async t => {
      const dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-report-'));
      t.after(() => rm(dir, { recursive: true, force: true }));
      const [file, manifest] = [join(dir, `report.${format}`), join(dir, 'manifest.json')];
      await writeFile(manifest, JSON.stringify({ plugins }, null, 1));
      const found = ofSync(manifest, { ...sampleReport, outcomes: failed, problems: [], drift: [] });
      const turn = await usualTurn(() => writeReport(found, { file, annotate: false, workspace: dir }));
      assert.ok(turn <= LONGEST_TURN_MS, `${turn} ms`);
      assert.match(await readFile(file, 'utf8'), format === 'json' ? /"begin": 30001\b/ : /p1 1\\?\.0/);
    });
});

describe('commands in CI', { concurrency: 3 }, () => {
  it('sync annotates the manifest on GitHub, writes the report, and prints nothing else when it is quiet', async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    const quiet = await scene.sync('--quiet', '--report', 'reports/sync.md');
    assert.deepEqual([quiet.code, quiet.stdout], [0, '']);
    assert.match(await scene.read('reports/sync.md'), /\| Added \| a 1\.0\.0 \|/);

    await scene.write('manifest.json', '{"plugins": {\n  "a": 7 } }\n');
    const env = { GITHUB_ACTIONS: 'true' };
    const broken = await scene.run(['sync', '--report', 'reports/sync.xml'], { env });
    assert.equal(broken.code, 2);
    assert.match(broken.stderr, /^::error file=[^,]*manifest\.json,line=2,col=8,title=MANIFEST_INVALID::/m);
    assert.match(await scene.read('reports/sync.xml'), /<failure type="MANIFEST_INVALID"/);
    const unknown = await scene.run(['sync', '--report', 'report.txt']);
    assert.equal(unknown.code, 2);
    assert.match(unknown.stderr, /ends in \.md \(Markdown\), \.xml \(JUnit\) or \.json/);
  });

  it('a taken update has the old and the new digest, and JSON says whether anything changed', async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: { versions: ['1.0.0'], aliases: { '0.9.0': '1.0.0' } } });
    const changed = async (...words: string[]) =>
      parsed<{ changed: boolean }>(await scene.sync('--format', 'json', ...words)).changed;
    assert.equal(await changed(), true);
    assert.equal(await changed(), false);
    const before = (await scene.read('manifest.lock.json')).match(/"digest": "(sha256:[0-9a-f]{64})"/)?.[1];
    scene.push('a', '1.0.0', undefined, 'moved');
    const updated = await scene.sync('--update', '--report', 'update.md');
    assert.match(updated.stdout, new RegExp(`^updated  a 1\\.0\\.0: ${before} → sha256:[0-9a-f]{64}$`, 'm'));
    assert.match(await scene.read('update.md'), /\| Updated \| a 1\.0\.0 \| `sha256:[0-9a-f]{12}…` \| `sha256:/);
  });

  it('check --lock-only needs no tree, and reports moved tags and a lockfile that is behind', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    scene.push('b', '1.0.0');
    await scene.list({ a: '1.0.0' });
    const none = await scene.run(['check', '--lock-only']);
    assert.equal(none.code, 3);
    assert.match(none.stderr, /FROZEN_LOCK_MISSING/);
    assert.match(none.stdout, /^✗ 1 version: there is no lockfile to compare with the registry$/m);
    await scene.sync();
    await rm(scene.path('plugins'), { recursive: true });
    const quiet = await scene.run(['check', '--lock-only', '--quiet']);
    assert.deepEqual([quiet.code, quiet.stdout], [0, '']);
    scene.push('a', '1.0.0', undefined, 'moved');
    await scene.list({ a: '1.0.0', b: '1.0.0' });
    const ran = await scene.run(['check', '--lock-only']);
    assert.equal(ran.code, 3);
    assert.match(
      ran.stdout,
      /^moved +a 1\.0\.0 .*\nunlocked +b 1\.0\.0 +in the manifest, not in the lockfile\n✗ 2 differences/,
    );
  });

  it('outdated ends in 3 when asked to, and writes newer versions into the manifest', async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    scene.push('a', '1.1.0');
    await scene.list({ a: '1.0.0' });
    assert.equal((await scene.run(['outdated'])).code, 0);
    const ran = await scene.run(['outdated', '--exit-code', '--write', '--report', 'outdated.md']);
    assert.equal(ran.code, 3);
    assert.match(ran.stderr, /wrote .*manifest\.json: a 1\.1\.0 \(newest before: 1\.0\.0\)/);
    assert.match(await scene.read('manifest.json'), /"a": ?\["1\.1\.0", "1\.0\.0"\]/);
    assert.match(await scene.read('outdated.md'), /\| Newer version \| a \| `1\.0\.0` \| `1\.1\.0` \|/);
    assert.equal((await scene.run(['outdated', '--exit-code', '--quiet'])).code, 0);
  });

  it('never replaces the manifest, the lockfile or a file of the tree', async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    await scene.sync();
    await symlink('manifest.json', scene.path('report.json'));
    const FILES = ['manifest.json', 'manifest.lock.json', 'plugins/index.json'];
    for (const [command, file] of [
      ['sync', 'manifest.json'],
      ['outdated', './report.json'],
      ['check', 'manifest.lock.json'],
      ['sync', 'plugins/index.json'],
      ['sync', 'plugins/new/report.md'],
    ] as const) {
      const before = await Promise.all(FILES.map(file => scene.read(file)));
      const ran = await scene.run([command, '--report', file]);
      assert.equal(ran.code, 2, ran.stderr);
      assert.match(ran.stderr, /OPTION_CONFLICT .*--report .* is (?:the manifest|the lockfile|in the plugin tree)/);
      assert.deepEqual(await Promise.all(FILES.map(file => scene.read(file))), before);
    }
  });
});
