import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readTextFile, type TextFileFault } from '../../json/textFile.ts';
import {
  allInOneRequests,
  chooseReleases,
  consoleRequests,
  controllerRequests,
  type HigressData,
  HigressReleaseUnknown,
} from './higressReleases.ts';
import { type InputProblem, type PluginRequest, type RequestsRead, requestOfUrl } from './pluginRequest.ts';
import type { SettingsFile, SettingsRead } from './settings.ts';

export interface RequestInputs {
  readonly data: HigressData;
  /** Releases of Higress (`2.2.5`), `controller` or `all-in-one`. */
  readonly higress: readonly string[];
  /** Files and folders with WasmPlugin resources; `-` is standard input. */
  readonly files: readonly string[];
  /** Files with the environment of Console and Controller; `-` is standard input. */
  readonly envFiles: readonly string[];
  readonly urls: readonly string[];
  /** Resolves to undefined if standard input has more bytes. */
  readonly readStdin: (mostBytes: number) => Promise<string | undefined>;
  readonly signal: AbortSignal;
}

const mostFileBytes = 64 * 1024 * 1024;

/**
 * Collects the requests of every input. A Console's release is the one that is named, else the tag of the Console's image in
 * the environment, else the newest. Without any input it is the newest release with the Controller and the all-in-one image.
 * A file that cannot be read is a problem of the result; the others are read all the same. @throws HigressReleaseUnknown,
 * the signal's reason
 */
export async function collectRequests(inputs: RequestInputs): Promise<RequestsRead> {
  const { data, files, envFiles, urls } = inputs;
  const problems: InputProblem[] = [];
  const report = (problem: InputProblem): void => void problems.push(problem);
  const texts = await readAll(envFiles, inputs, report);
  const { settings, problems: settingsProblems } = await settingsOf(texts, inputs.signal);
  for (const problem of settingsProblems) report(problem);

  const isDefault = inputs.higress.length + files.length + envFiles.length + urls.length === 0;
  const higress = isDefault ? ['controller', 'all-in-one'] : inputs.higress;
  const names = higress.filter(name => name !== 'controller' && name !== 'all-in-one');
  const requests: PluginRequest[] = [];
  if (names.length > 0 || isDefault || envFiles.length > 0) {
    const { consoleTag } = settings;
    const releases =
      names.length === 0 && consoleTag !== undefined
        ? releasesOf(data, consoleTag.value, problem => report({ source: consoleTag.source, ...problem }))
        : chooseReleases(data, names);
    requests.push(...consoleRequests(releases, settings));
  }
  if (higress.includes('controller') || settings.mcpServerUrl !== undefined)
    requests.push(...controllerRequests(data, settings));
  if (higress.includes('all-in-one')) requests.push(...allInOneRequests(data));

  if (files.length > 0) for (const request of await wasmPluginRequests(inputs, report)) requests.push(request);
  requests.push(...urls.map(requestOfUrl));
  return { requests, problems };
}

/** The parser of YAML is loaded only if there are files. */
async function settingsOf(files: readonly SettingsFile[], signal: AbortSignal): Promise<SettingsRead> {
  if (files.length === 0) return { settings: {}, problems: [] };
  const { readInput } = await import('./readInput.ts');
  return (
    (await readInput('settings', files, signal)) ?? {
      settings: {},
      problems: [tooComplex(files.map(({ file }) => file).join(', '))],
    }
  );
}

function tooComplex(file: string): InputProblem {
  return { source: { file }, found: 'text whose parts need more than 2 GiB of memory', expected: 'smaller documents' };
}

async function wasmPluginRequests(
  inputs: RequestInputs,
  report: (problem: InputProblem) => void,
): Promise<PluginRequest[]> {
  const { readInput } = await import('./readInput.ts');
  const requests: PluginRequest[] = [];
  for (const path of inputs.files) {
    const before = requests.length;
    let isReported = false;
    const note = (problem: InputProblem): void => {
      isReported = true;
      report(problem);
    };
    for (const input of await readAll([path], inputs, note)) {
      const read = (await readInput('resources', input, inputs.signal)) ?? {
        requests: [],
        problems: [tooComplex(input.file)],
      };
      for (const request of read.requests) requests.push(request);
      for (const problem of read.problems) note(problem);
    }
    if (requests.length === before && !isReported)
      report({
        source: { file: path },
        found: 'no WasmPlugin',
        expected: 'WasmPlugin resources of extensions.higress.io or extensions.istio.io, as YAML or JSON',
        hint: 'kubectl get wasmplugins.extensions.higress.io -A -o yaml prints those of a cluster.',
      });
  }
  return requests;
}

/** If the data does not have the release that runs in the cluster, the newest release takes its place. */
function releasesOf(
  data: HigressData,
  tag: string,
  report: (problem: Omit<InputProblem, 'source'>) => void,
): ReturnType<typeof chooseReleases> {
  try {
    return chooseReleases(data, [tag]);
  } catch (error) {
    if (!(error instanceof HigressReleaseUnknown)) throw error;
    const newest = chooseReleases(data, []);
    const compared = newest.map(({ release }) => release).join(', ');
    report({
      found: `Higress Console ${tag}`,
      expected: error.expected ?? '',
      hint: `Compared was ${compared}. Name another with --higress.`,
    });
    return newest;
  }
}

async function readAll(
  paths: readonly string[],
  { readStdin }: Pick<RequestInputs, 'readStdin'>,
  report: (problem: InputProblem) => void,
): Promise<SettingsFile[]> {
  const texts: SettingsFile[] = [];
  for (const path of paths) {
    if (path === '-') {
      const text = await readStdin(mostFileBytes);
      if (text === undefined) report(unreadable('-', { kind: 'too large' }));
      else texts.push({ file: '-', text });
      continue;
    }
    for (const file of await filesBelow(path)) {
      const read = await readTextFile(file, mostFileBytes);
      if ('text' in read) texts.push({ file, text: read.text });
      else report(unreadable(file, read));
    }
  }
  return texts;
}

/** The path itself, or the YAML and JSON files of a folder and the folders in it, in the order of their names. */
async function filesBelow(path: string): Promise<string[]> {
  if (
    !(await stat(path).then(
      found => found.isDirectory(),
      () => false,
    ))
  )
    return [path];
  const entries = await readdir(path, { withFileTypes: true, recursive: true });
  return entries
    .filter(entry => (entry.isFile() || entry.isSymbolicLink()) && /\.(?:ya?ml|json)$/i.test(entry.name))
    .map(entry => join(entry.parentPath, entry.name))
    .sort();
}

function unreadable(file: string, fault: TextFileFault): InputProblem {
  return { source: { file }, found: faultWords(fault), expected: 'a text file in UTF-8' };
}

function faultWords(fault: TextFileFault): string {
  if (fault.kind === 'missing') return 'no such file';
  return fault.kind === 'too large' ? `more than ${mostFileBytes >> 20} MiB` : fault.found;
}
