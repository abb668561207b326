import process from 'node:process';
import { printable, printableValue } from '../../base/printable.ts';
import { openBundled } from '../../mirror/bundle/bundledModules.ts';
import {
  type CoverageOptions,
  type CoverageReport,
  cover,
  imagesOf,
  isActiveMiss,
  pathsOf,
} from '../../mirror/coverage/coverage.ts';
import { coverageJson } from '../../mirror/coverage/coverageJson.ts';
import { valuesFor, type WrittenPlugin, withValues } from '../../mirror/coverage/manifestLines.ts';
import { readServedManifest, readServedTree, readWrittenPlugins } from '../../mirror/coverage/readServed.ts';
import { collectRequests } from '../../mirror/coverage/requests/collectRequests.ts';
import { readHigressData } from '../../mirror/coverage/requests/higressReleases.ts';
import { type Served, servedByServer } from '../../mirror/coverage/served.ts';
import { replaceManifestText } from '../../mirror/import/writeManifest.ts';
import { readManifestText } from '../../mirror/manifest/readManifest.ts';
import { EXIT } from '../exit.ts';
import { OptionConflict } from '../options/errors.ts';
import { readStandardInput } from '../options/standardInput.ts';
import { print, printJson, wantsColor } from '../render/print.ts';
import type { CoverageFlags } from './options.ts';
import { renderCoverage } from './text.ts';

/** `plugin-mirror coverage`; returns the exit code. */
export async function runCoverage(
  files: readonly string[],
  flags: CoverageFlags,
  signal: AbortSignal,
): Promise<number> {
  const { higress = [], envFile: envFiles = [], url: urls = [], urlPattern: urlPatterns = [], manifest } = flags;
  const { against, tree, bundle } = flags;
  const given = Object.entries({ '--tree': tree, '--bundle': bundle, '--against': against });
  const named = given.flatMap(([option, value]) => (value === undefined ? [] : [option]));
  if (named.length > 1)
    throw new OptionConflict(`${named.join(' and ')}: the requests are looked up in one of them`, {
      expected: '--tree, --bundle or --against',
      found: named.join(', '),
      hint: 'Leave out all but one, and run the command once for each.',
    });
  const isManifest = named.length === 0;
  const bases = [flags.base, against].filter(base => base !== undefined);
  const address = { bases, anyPrivateHost: flags.base === undefined };
  const data = await readHigressData();
  const readStdin = async (mostBytes: number) => (await readStandardInput(mostBytes, signal))?.toString('utf8');
  const { requests, problems } = await collectRequests({ data, higress, files, envFiles, urls, readStdin, signal });
  const options = { requests, problems, ...address, urlPatterns, data };
  const served = await openServed({ requests, ...address }, against, flags, signal);
  let report = cover({ ...options, served });
  const written = await readWrittenPlugins(manifest);
  let values = missingValues(report, written?.plugins ?? {});
  let fixed = 0;
  if (flags.fix && values.size > 0) {
    const text = written?.text ?? (await readManifestText(manifest)); // throws MANIFEST_MISSING
    await replaceManifestText(manifest, withValues(text, values));
    fixed = values.size;
    if (isManifest) {
      report = cover({ ...options, served: await readServedManifest(manifest, flags.lock) });
      values = new Map();
    }
  }
  if (flags.format === 'json') printJson(coverageJson(report, values, served));
  else
    print(
      renderCoverage({
        report: printableValue(report),
        values: printableValue(values),
        servedBy: printable(served.name),
        fixed,
        manifest,
        all: flags.all ?? false,
        isManifest,
        color: wantsColor(process.stdout),
      }),
    );
  if (report.totals.notServed > 0) return EXIT.drift;
  return problems.length > 0 ? EXIT.usage : EXIT.good;
}

function missingValues(
  { findings }: CoverageReport,
  plugins: Readonly<Record<string, WrittenPlugin>>,
): Map<string, WrittenPlugin> {
  return valuesFor(
    findings.filter(isActiveMiss).flatMap(({ missing }) => missing ?? []),
    plugins,
  );
}

async function openServed(
  { requests, ...address }: Pick<CoverageOptions, 'requests' | 'bases' | 'anyPrivateHost'>,
  against: URL | undefined,
  flags: CoverageFlags,
  signal: AbortSignal,
): Promise<Served> {
  if (flags.tree !== undefined) return readServedTree(flags.tree);
  if (flags.bundle !== undefined) return openBundled(flags.bundle);
  if (against === undefined) return readServedManifest(flags.manifest, flags.lock);
  const { openHeads } = await import('./headRequests.ts');
  const heads = await openHeads(flags, process.env);
  try {
    const asked = { paths: pathsOf(requests, address), images: imagesOf(requests, address) };
    return await servedByServer({ base: against, ...asked, ...heads, concurrency: flags.concurrency, signal });
  } finally {
    heads.close();
  }
}
