import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { formatManifest } from '../../mirror/import/writeManifest.ts';
import { ENTRY } from '../support/build.ts';
import { openScene } from '../support/cli.ts';
import { status } from '../support/faults.ts';
import { imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { slow } from '../support/slow.ts';

const execute = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');
const read = (name: string) => readFile(join(root, name), 'utf8');
const workflowNames = (await readdir(join(root, '.github/workflows'))).map(name => `.github/workflows/${name}`);
const blocks = codeBlocks(await read('docs/ci.md'));

function codeBlocks(text: string): { kind: string | undefined; text: string }[] {
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, kind, block = '']) => ({ kind, text: block }));
}

interface Step {
  readonly id?: string;
  readonly name?: string;
  readonly if?: string;
  readonly uses?: string;
  readonly run?: string;
  readonly env?: Readonly<Record<string, string>>;
}

interface Job {
  readonly if?: string;
  readonly permissions?: Readonly<Record<string, string>>;
  readonly needs?: readonly string[];
  /** A job that calls another workflow has none. */
  readonly steps?: readonly Step[];
}

interface Workflow {
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, Job>>;
}

interface Action {
  readonly inputs: Readonly<Record<string, { readonly default: string }>>;
  readonly outputs: Readonly<Record<string, object>>;
  readonly runs: { readonly steps: readonly Step[] };
}

test('every action is pinned by its commit, with the version in a comment', async () => {
  const texts = [...(await Promise.all(['action.yml', ...workflowNames].map(read))), ...blocks.map(({ text }) => text)];
  const used = texts.flatMap(text => text.match(/uses: .+$/gm) ?? []);
  assert.ok(used.length > 15);
  for (const line of used.filter(each => !each.includes('OWNER/plugin-mirror') && !each.startsWith('uses: ./')))
    assert.match(line, /^uses: [\w.-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  const pins = new Set(used.map(line => line.replace(/^uses: /, '')).filter(line => line.includes(' # ')));
  const names = [...pins].map(pin => pin.split('@')[0]);
  assert.equal(new Set(names).size, names.length, 'one version of each action');
});

test('no workflow and no input writes into a script, and only a push publishes', async () => {
  const action = parse(await read('action.yml')) as Action;
  assert.deepEqual(Object.keys(action.inputs), ['manifest', 'out', 'version', 'args', 'cache']);
  assert.deepEqual(Object.keys(action.outputs), ['changed', 'report', 'exit-code']);
  const workflows = await Promise.all(workflowNames.map(async name => parse(await read(name)) as Workflow));
  const jobs = workflows.flatMap(({ jobs }) => Object.values(jobs));
  for (const { run = '' } of [...action.runs.steps, ...jobs.flatMap(({ steps = [] }) => steps)])
    assert.doesNotMatch(run, /\$\{\{/, 'expressions reach a script by its variables');
  for (const { permissions } of workflows) assert.deepEqual(permissions, { contents: 'read' });
  const writing = jobs.filter(({ permissions = {} }) => Object.values(permissions).includes('write'));
  const image = parse(await read('.github/workflows/image.yml')) as Workflow;
  assert.ok(writing.length >= 2 && image.jobs.publish !== undefined);
  assert.equal(image.jobs.publish.if, "github.event_name == 'push'");
  assert.deepEqual(image.jobs.publish.needs, ['test', 'build'], 'nothing is published untested');
  const publishing = (step: Step) => /login-action|attest|cosign/.test(`${step.uses}${step.run}`);
  assert.deepEqual(image.jobs.build?.steps?.filter(publishing), []);
  assert.equal(image.jobs.build?.permissions, undefined);
});

test('the snippets of docs/ci.md are what their readers parse', async () => {
  const of = (kind: string) => blocks.filter(block => block.kind === kind).map(({ text }) => text);
  const [action, plain, gitlab] = of('yaml').map(text => parse(text) as Record<string, unknown>);
  for (const workflow of [action, plain])
    assert.ok(Object.values((workflow as unknown as Workflow).jobs).every(({ steps = [] }) => steps.length > 2));
  for (const job of Object.values(gitlab as Record<string, { script: string[] }>))
    assert.match(job.script.join('\n'), /plugin-mirror (?:sync|check)/);
  const jenkins = of('groovy')[0] ?? '';
  assert.equal(jenkins.match(/\{/g)?.length, jenkins.match(/\}/g)?.length);
  assert.match(jenkins, /^pipeline \{\n {2}agent [\s\S]*\n {2}stages \{[\s\S]*\n {2}post \{/);

  const renovate = JSON.parse(of('json')[0] ?? '') as { customManagers: { matchStrings: string[] }[] };
  const [versions = [], base = []] = renovate.customManagers.map(({ matchStrings }) =>
    matchStrings.map(text => new RegExp(text, 'g')),
  );
  const manifest = formatManifest({
    $schema: './manifest.schema.json',
    registry: 'registry.example.com',
    plugins: {
      'ai-proxy': ['2.0.3', '2.0.1'],
      one: '1.2.3',
      'basic-auth': { versions: ['2.0.0'], aliases: { '1.0.0': '2.0.0' } },
      'key-auth': { versions: ['2.0.0'], tags: { '2.0.0': 'v2.0.0' } },
      object: { versions: ['2.0.0', '1.0.0'] },
    },
  });
  // Replacing the version of an alias, or one with a tag, would break the manifest.
  for (const text of [manifest, `${JSON.stringify(JSON.parse(manifest), undefined, 2)}\n`]) {
    const found = versions.flatMap(each => [...text.matchAll(each)].map(({ groups }) => groups));
    assert.deepEqual(
      found.map(groups => `${groups?.depName} ${groups?.currentValue}`),
      ['ai-proxy 2.0.3', 'one 1.2.3', 'object 2.0.0'],
    );
  }
  const image = await read('.github/workflows/image.yml');
  assert.equal(base.flatMap(each => [...image.matchAll(each)]).length, 1);
});

test("the action's steps mirror plugins in an empty checkout, and report a failure", slow, async t => {
  const action = parse(await read('action.yml')) as Action;
  const scene = await openScene(t);
  scene.push('a', '1.0.0');
  await scene.list({ a: '1.0.0' });
  await scene.sync();
  const temp = await mkdtemp(join(tmpdir(), 'plugin-mirror-action-'));
  t.after(() => rm(temp, { recursive: true, force: true }));
  await mkdir(join(temp, 'files'));
  const file = (name: string) => join(temp, 'files', name);
  for (const name of ['output', 'summary', 'path']) await writeFile(file(name), '');
  const variables = {
    PATH: process.env.PATH,
    HOME: temp,
    CI: 'true',
    RUNNER_TEMP: temp,
    GITHUB_ACTIONS: 'true',
    GITHUB_OUTPUT: file('output'),
    GITHUB_STEP_SUMMARY: file('summary'),
    GITHUB_PATH: file('path'),
    VERSION: '',
    ACTION: root,
    MANIFEST: 'manifest.json',
    OUT: 'mirrored $(touch executed)',
  };
  const steps = async (args: string): Promise<string> => {
    for (const { run } of action.runs.steps)
      if (run !== undefined)
        await execute('bash', ['--noprofile', '--norc', '-eo', 'pipefail', '-c', run], {
          cwd: scene.path('.'),
          env: { ...variables, ARGS: args },
        });
    return readFile(file('output'), 'utf8');
  };
  const first = await steps(`--only 'a' "--log-level=warn"`);
  assert.match(first, /^exit-code=0\nreport=.*report\.md\nchanged=true\n$/);
  assert.match(await readFile(file('summary'), 'utf8'), /\| Added \| a 1\.0\.0 \|/);
  assert.deepEqual(await readdir(scene.path('mirrored $(touch executed)/a')), ['1.0.0']);
  assert.match(await steps(' \n'), /exit-code=0\nreport=.*\nchanged=false\n$/);
  const failed = async (args: string, code: number): Promise<void> => {
    await assert.rejects(
      steps(args),
      ({ stdout, stderr, ...error }: { code: number; stdout: string; stderr: string }) => {
        assert.equal(error.code, code, stderr);
        assert.match(`${stdout}${stderr}`, /^::error /m);
        return true;
      },
    );
  };
  const outputs = () => readFile(file('output'), 'utf8');
  scene.push('b', '1.0.0');
  await scene.list({ a: '1.0.0', b: '1.0.0', c: '1.0.0' });
  await failed('--no-frozen', 1);
  assert.match(await outputs(), /exit-code=1\nreport=.+report\.md\nchanged=true\n$/, 'b was published, c is missing');
  for (const args of [`--update e'1 x`, '--no-such-option']) {
    await failed(args, 2);
    assert.match(await outputs(), /exit-code=2\nreport=\nchanged=false\n$/, 'nothing of the last run');
  }
  await scene.write('manifest.json', '{');
  await failed('; touch executed', 2);
  assert.match(await outputs(), /exit-code=2\nreport=.+report\.md\nchanged=false\n$/);
  assert.ok(!(await readdir(scene.path('.'))).includes('executed'));
});

test('the nightly job proposes newer versions, and opens its issue also if a locked image is gone', slow, async t => {
  const nightly = parse(await read('.github/workflows/nightly.yml')) as Workflow;
  const steps = nightly.jobs.versions?.steps ?? [];
  const step = (name: string): Step => steps.find(each => each.name?.startsWith(name)) as Step;
  assert.equal(step('Open or update the issue').if, "${{ !cancelled() && steps.check.outputs.state != '' }}");
  const scene = await openScene(t);
  for (const version of ['1.0.0', '1.1.0']) scene.push('a', version);
  await scene.list({ a: '1.0.0' });
  await scene.sync();
  const remote = await mkdtemp(join(tmpdir(), 'plugin-mirror-remote-'));
  t.after(() => rm(remote, { recursive: true, force: true }));
  const shell = async (script: string, more: NodeJS.ProcessEnv = {}): Promise<number> => {
    const env = {
      ...scene.environment({ CI: 'true', PLUGIN_MIRROR_RETRIES: '0' }),
      ...more,
      PATH: `${scene.path('bin')}:${process.env.PATH}`,
    };
    const args = ['--noprofile', '--norc', '-eo', 'pipefail', '-c', script];
    return execute('bash', args, { cwd: scene.path('.'), env }).then(
      () => 0,
      (error: { code: number }) => error.code,
    );
  };
  await scene.write('bin/npx', `#!/bin/sh\nshift\nexec ${process.execPath} ${ENTRY} "$@"\n`);
  await scene.write('bin/gh', '#!/bin/sh\necho "$*" >>gh.log\n');
  for (const name of ['npx', 'gh']) await chmod(scene.path('bin', name), 0o755);
  const identity = 'git config user.name n; git config user.email e@example.com';
  const commit = `${identity}; git add manifest.json manifest.lock.json; git commit -qm one`;
  assert.equal(
    await shell(`git init -q --bare ${remote}; git init -q -b main; git remote add origin ${remote}; ${commit}`),
    0,
  );
  const night = async (): Promise<{ state: string; taken: number; said: string }> => {
    // Each night has a new checkout, without a tree and a cache.
    assert.equal(await shell('git checkout -qf main; git branch -qD versions || true; rm -rf plugins home'), 0);
    for (const file of ['output', 'gh.log']) await scene.write(file, '');
    const output = { GITHUB_OUTPUT: scene.path('output'), BRANCH: 'versions' };
    assert.equal(await shell(step('Check the registry').run ?? '', output), 0);
    const state = /state=(\w+)/.exec(await scene.read('output'))?.[1] ?? '';
    const taken = await shell(step('Take newer versions').run ?? '', output);
    if (taken === 0) assert.equal(await shell(step('Open or update the pull request').run ?? '', output), 0);
    await shell(step('Open or update the issue').run ?? '', { ...output, STATE: state });
    return { state, taken, said: await scene.read('gh.log') };
  };
  const quiet = await night();
  assert.deepEqual([quiet.state, quiet.taken], ['same', 0]);
  assert.match(quiet.said, /^pr create --head versions /m);
  assert.doesNotMatch(quiet.said, /^issue create/m);
  scene.registry.script({ kind: 'manifest', fault: status(404) });
  const gone = await night();
  assert.deepEqual([gone.state, gone.taken > 0], ['differs', true]);
  assert.match(
    gone.said,
    /^issue create --title The registry differs from manifest\.lock\.json --body-file drift\.md$/m,
  );
  assert.doesNotMatch(gone.said, /^pr /m);
  scene.registry.script({ kind: 'manifest', fault: status(500) });
  const down = await night();
  assert.equal(down.state, 'unknown');
  assert.doesNotMatch(down.said, /^issue (?:create|edit|close)/m, 'a registry that is down differs in nothing');
});

test(
  'the commands of the CI snippets run in a checkout, and the cache that they keep spares the next job downloads',
  slow,
  async t => {
    const scripts = (text: string): string[] =>
      [...text.matchAll(/^ +(?:- run: |- |sh ')(npx (?:--yes )?plugin-mirror [^'\n]+)/gm)].map(
        ([, command = '']) => command,
      );
    const snippets = [...codeBlocks(await read('README.md')), ...blocks]
      .filter(({ kind }) => kind === 'yaml' || kind === 'groovy')
      .map(({ text }) => scripts(text))
      .filter(commands => commands.length > 0);
    assert.ok(snippets.length >= 4);
    assert.ok(snippets.flat().length >= 8, snippets.flat().join('\n'));
    for (const commands of snippets) {
      const scene = await openScene(t);
      scene.push('a', '1.0.0', imageFormC({ wasm: buildModule({ seed: 'cached', sizeBytes: 200_000 }) }));
      await scene.list({ a: '1.0.0' });
      await scene.sync();
      await rm(scene.path('plugins'), { recursive: true });
      await scene.write(
        'bin/npx',
        `#!/bin/sh\n[ "$1" != --yes ] || shift\nshift\nexec ${process.execPath} ${ENTRY} "$@"\n`,
      );
      await chmod(scene.path('bin/npx'), 0o755);
      const env = { ...scene.environment({ CI: 'true' }), PATH: `${scene.path('bin')}:${process.env.PATH}` };
      for (const job of ['first', 'second']) {
        scene.registry.reset();
        await mkdir(scene.path('reports'), { recursive: true });
        for (const command of commands) await execute('sh', ['-c', command], { cwd: scene.path('.'), env });
        const downloads = scene.registry.count({ kind: 'blob' });
        if (commands.some(command => command.includes('--cache-dir')))
          assert.equal(downloads > 0, job === 'first', `${job} job, ${commands.join('; ')}: ${downloads} downloads`);
        // The next job starts from a new checkout, with the folder of the cache.
        await rm(scene.path('plugins'), { recursive: true, force: true });
        await rm(scene.path('home'), { recursive: true, force: true });
      }
    }
  },
);
