import { type CoverageFinding, type CoverageReport, isActiveMiss } from './coverage.ts';
import { manifestLine, type WrittenPlugin } from './manifestLines.ts';
import type { PluginRequest } from './requests/pluginRequest.ts';

/**
 * The report as `coverage --format json` prints it; coverage.schema.json describes it. `values` are those of the manifest
 * lines that fix the misses, from valuesFor. A plugin's line is printed once: it may have thousands of versions.
 */
export function coverageJson(
  report: CoverageReport,
  values: ReadonlyMap<string, WrittenPlugin>,
  served: { readonly name: string },
): object {
  return {
    schemaVersion: 1,
    served: served.name,
    findings: report.findings.map(finding => findingJson(finding, values)),
    problems: report.problems.map(({ source, found, expected, hint }) => ({
      ...source,
      found,
      expected,
      ...(hint === undefined ? {} : { hint }),
    })),
    lines: [...values].map(([plugin, value]) => ({ plugin, line: manifestLine(plugin, value) })),
    totals: report.totals,
  };
}

function findingJson(finding: CoverageFinding, values: ReadonlyMap<string, WrittenPlugin>): object {
  const { request, url, status, path, detail, warning, missing } = finding;
  return {
    status,
    consumer: request.consumer,
    kind: request.kind,
    url,
    ...path,
    ...optional(request),
    ...(isActiveMiss(finding) ? { closesRoutes: request.failStrategy === 'FAIL_CLOSE' } : {}),
    source: request.source,
    ...(detail === undefined ? {} : { detail }),
    ...(warning === undefined ? {} : { warning }),
    ...(missing === undefined || !values.has(missing.name) ? {} : { fix: missing.name }),
  };
}

function optional({ failStrategy, imagePullPolicy, sha256, disabled, image }: PluginRequest): object {
  return {
    failStrategy,
    ...(imagePullPolicy === undefined ? {} : { imagePullPolicy }),
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(image === undefined ? {} : { image }),
    ...(disabled === undefined ? {} : { disabled }),
  };
}
