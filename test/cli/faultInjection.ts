import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { after, before, describe, it, type TestContext } from 'node:test';
import {
  type Cleanup,
  openScene,
  type Ran,
  type RunOptions,
  type Scene,
  type SyncJson,
  sha256,
} from '../support/cli.ts';
import { imageFormA, imageFormC, type TestImage } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import type { RequestRecord } from '../support/records.ts';
import type { RegistryOptions } from '../support/registry.ts';
import type { FaultRule } from '../support/script.ts';
import { RUNS_SLOW, slowUnless } from '../support/slow.ts';
import { type Bill, PEERS, runPeer } from './faultInjectionPeer.ts';

/** What surrounds a trial beside its registry. */
export interface Arranged {
  readonly args?: readonly string[];
  readonly env?: RunOptions['env'];
  /** Members of manifest.json, e.g. `registry` and `mirrors`. */
  readonly manifest?: object;
  /** Checked when the run is over. */
  readonly after?: (ran: Ran) => void | Promise<void>;
}

export interface Trial {
  readonly name: string;
  /** They meet this trial's own requests alone. */
  readonly rules?: readonly FaultRule[];
  /** Blob bytes on the wire, as a multiple of what is needed. Default 1.04: what was on its way at a break. */
  readonly bytes?: number;
  /** Requests, tokens and redirects included. Default 24; an undisturbed run without either has 6. */
  readonly requests?: number;
  /** Why neither plugin can be had; or which one cannot. Default: both can. */
  readonly fails?: string | Readonly<Partial<Record<Part, string>>>;
  /** How many bytes get through is the system's, not the client's: the bill is not compared with ORAS'. */
  readonly luck?: boolean;
  /** It could be had, at a price that nobody should pay; ORAS does. */
  readonly onPurpose?: boolean;
  /**
   * Only --timeout ends its fault, which is silence. These trials have a short one. All others have one that a busy machine
   * cannot exceed, since a time-out of theirs would be one more fault.
   */
  readonly silent?: boolean;
  /** Only where trials run apart: what this one has beside what all have. */
  readonly around?: Omit<Surroundings, 'apart' | 'peer'>;
}

export interface Surroundings {
  readonly registry?: RegistryOptions;
  readonly args?: readonly string[];
  readonly arrange?: (scene: Scene, t: Cleanup, images: Images) => Promise<Arranged> | Arranged;
  /** Each trial has a registry and a run of its own, since its faults are the whole host's. Default: all share one run. */
  readonly apart?: boolean;
  /** False where ORAS cannot be asked the same: it has no such option, or no manifest. Default true. */
  readonly peer?: boolean;
}

/** By plugin; each is `plugins/NAME:1` in the scene's registry. */
export type Images = ReadonlyMap<string, TestImage>;

const PATIENT = ['--timeout', '30'];
const IMPATIENT = ['--timeout', '5'];

type Part = 'large' | 'small';
const PARTS: readonly Part[] = ['large', 'small'];

/** Groups that run beside each other: most of their time is waiting. */
export function beside(title: string, groups: () => void): void {
  describe(title, { concurrency: 4 }, groups);
}

/**
 * Fault scripts against the command: each trial has two plugins, one that goes through a file and one with documents that
 * stays in memory. What can be had must be there to the byte, what cannot must say why, and neither may cost more on the
 * wire than it needs. Trials share one run, in which each meets its own faults only; beside ORAS each runs alone.
 */
export function injectFaults(title: string, around: Surroundings, trials: readonly Trial[]): void {
  const numbered = trials.map((about, index): NumberedTrial => ({ about, index }));
  describe(title, { concurrency: 3 }, () => {
    if (PEERS || around.apart === true) {
      for (const trial of numbered) {
        const { about, index } = trial;
        it(about.name, slowUnless(index === 0), async t => {
          const course = await openCourse(t, { ...around, ...about.around }, [trial]);
          await run(course);
          await judge(course, trial);
          if (PEERS && around.peer !== false) await compare(t, around, trial, billOf(course, index));
        });
      }
      return;
    }
    const isSample = ({ index }: NumberedTrial): boolean => index % 3 === 0;
    const tried = numbered.filter(trial => RUNS_SLOW || isSample(trial));
    const courses = new Map<boolean, Course>();
    const cleanups: (() => unknown)[] = [];
    after(async () => {
      for (const clean of cleanups) await clean();
    });
    before(async () => {
      const runs = [true, false].map(async silent => {
        const together = tried.filter(({ about }) => (about.silent ?? false) === silent);
        if (together.length === 0) return;
        const course = await openCourse({ after: clean => cleanups.push(clean) }, around, together);
        courses.set(silent, course);
        await run(course);
      });
      await Promise.all(runs);
    });
    for (const trial of numbered)
      it(trial.about.name, slowUnless(isSample(trial)), async () => {
        const course = courses.get(trial.about.silent ?? false);
        assert.ok(course);
        await judge(course, trial);
      });
  });
}

interface NumberedTrial {
  readonly about: Trial;
  /** Names its plugins. */
  readonly index: number;
}

interface Course {
  readonly scene: Scene;
  readonly arranged: Arranged;
  readonly args: readonly string[];
  readonly images: Images;
  ran: Ran;
  tookMs: number;
}

async function openCourse(t: Cleanup, around: Surroundings, trials: readonly NumberedTrial[]): Promise<Course> {
  const scene = await openScene(t, around.registry);
  const images = new Map(trials.flatMap(({ index }) => PARTS.map(part => [nameOf(index, part), imageOf(index, part)])));
  for (const [name, image] of images) scene.registry.push(`plugins/${name}`, '1', image);
  scene.registry.script(
    trials.flatMap(({ about, index }) =>
      (about.rules ?? []).map(rule => ({
        ...rule,
        when: record => belongsTo(index, record) && (rule.when?.(record) ?? true),
      })),
    ),
  );
  const arranged = (await around.arrange?.(scene, t, images)) ?? {};
  const patience = trials.some(({ about }) => about.silent === true) ? IMPATIENT : PATIENT;
  const args = [...patience, ...(around.args ?? []), ...(arranged.args ?? [])];
  return { scene, arranged, args, images, ran: { code: null, stdout: '', stderr: '' }, tookMs: 0 };
}

async function run(course: Course): Promise<void> {
  const { scene, arranged, args, images } = course;
  await scene.list(Object.fromEntries([...images.keys()].map(name => [name, '1'])), arranged.manifest);
  const started = performance.now();
  course.ran = await scene.run(
    ['sync', '--format', 'json', ...args],
    arranged.env === undefined ? {} : { env: arranged.env },
  );
  course.tookMs = performance.now() - started;
  assert.notEqual(course.ran.code, null, `it did not end: ${course.ran.stderr}`);
}

async function judge(course: Course, { about, index }: NumberedTrial): Promise<void> {
  const { scene, ran, arranged } = course;
  const { plugins } = JSON.parse(ran.stdout) as SyncJson;
  for (const part of PARTS) {
    const name = nameOf(index, part);
    const code = typeof about.fails === 'string' ? about.fails : about.fails?.[part];
    const told = plugins.find(plugin => plugin.name === name);
    const why = `${name}: ${told?.error?.code} ${told?.error?.message}\n${linesAbout(ran, name)}`;
    const file = scene.path('plugins', name, '1/plugin.wasm');
    assert.equal(told?.status, code === undefined ? 'fetched' : 'failed', why);
    if (code === undefined) {
      const bytes = await readFile(file);
      assert.ok(course.images.get(name)?.wasm?.equals(bytes), `${name} has other bytes`);
      assert.equal(told?.sha256, sha256(bytes));
    } else {
      assert.match(told?.error?.code ?? '', new RegExp(`^(?:${code})$`), why);
      assert.ok((told?.error?.hint ?? '').length > 20, `${name} has no hint`);
      await assert.rejects(readdir(scene.path('plugins', name)), 'something was published');
      assert.equal(ran.code, 1);
    }
  }
  if (plugins.every(({ status }) => status === 'fetched')) assert.equal(ran.code, 0, ran.stderr);
  const { bytes, requests } = billOf(course, index);
  const needed = neededBytes(index);
  // An RST early in each of a plugin's three blobs may take back all that came before it.
  assert.ok(bytes <= needed * (about.bytes ?? 1.04), `${bytes} bytes travelled, ${needed} were needed`);
  assert.ok(requests <= (about.requests ?? 24), `${requests} requests`);
  await arranged.after?.(ran);
}

function linesAbout({ stderr }: Ran, name: string): string {
  return stderr
    .split('\n')
    .filter(line => line.includes(name))
    .join('\n');
}

function billOf({ scene, ran, tookMs }: Course, index: number): Bill {
  const own = (record: RequestRecord) => belongsTo(index, record);
  const isBody = ({ kind, status }: RequestRecord) => kind === 'blob' && (status === 200 || status === 206);
  return {
    succeeded: ran.code === 0,
    bytes: scene.registry.bytesServed(record => own(record) && isBody(record)),
    requests: scene.registry.count(own),
    tookMs,
  };
}

/** A token's scope names the repository as a blob's path does, and so does its signed URL. */
function belongsTo(index: number, { url }: RequestRecord): boolean {
  return decodeURIComponent(url).includes(`plugins/${nameOf(index)}`);
}

function nameOf(index: number, part?: Part): string {
  return `t${String(index).padStart(3, '0')}-${part ?? ''}`;
}

const made = new Map<string, TestImage>();

/** No two alike, else one would serve for both. */
function imageOf(index: number, part: Part): TestImage {
  const name = nameOf(index, part);
  const image = made.get(name) ?? build(name, part);
  made.set(name, image);
  return image;
}

function build(name: string, part: Part): TestImage {
  if (part === 'large') return imageFormC({ wasm: buildModule({ seed: name, sizeBytes: 1_150_000 }) });
  return imageFormA({ wasm: buildModule({ seed: name, sizeBytes: 90_000 }), spec: `info:\n  name: ${name}\n` });
}

function neededBytes(index: number): number {
  return PARTS.flatMap(
    part => (JSON.parse(imageOf(index, part).manifest.toString()) as { layers: { size: number }[] }).layers,
  ).reduce((sum, { size }) => sum + size, 0);
}

/** The same images through ORAS, from a registry that misbehaves in the same way. */
async function compare(t: TestContext, around: Surroundings, trial: NumberedTrial, ours: Bill): Promise<void> {
  const { about, index } = trial;
  const course = await openCourse(t, { ...around, ...about.around }, [trial]);
  // ORAS knows no list that could name another registry or mirrors.
  if (course.arranged.manifest !== undefined) return;
  const peer = await runPeer(course.scene, [...course.images.keys()]);
  if (peer === undefined) return;
  const bill = { ...billOf(course, index), ...peer };
  const cell = ({ succeeded, bytes, requests, tookMs }: Bill): string =>
    `${succeeded ? 'ok    ' : 'failed'} ${(bytes / neededBytes(index)).toFixed(2).padStart(5)}× ` +
    `${String(requests).padStart(3)} requests ${(tookMs / 1000).toFixed(1).padStart(5)} s`;
  t.diagnostic(`| ${about.name.padEnd(60)} | ${cell(ours)} | ORAS ${cell(bill)} |`);
  if (!peer.succeeded || about.onPurpose === true) return;
  assert.ok(ours.succeeded, 'ORAS had them all');
  if (about.luck !== true) assert.ok(ours.bytes <= bill.bytes, `${ours.bytes} bytes; ORAS needed ${bill.bytes}`);
}
