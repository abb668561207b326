import { type CoverageFinding, type CoverageReport, isMiss } from './coverage.ts';
import { manifestLine, type WrittenPlugin } from './manifestLines.ts';
import type { PluginRequest } from './requests/pluginRequest.ts';

/**
 * The report as `coverage --format json` prints it; coverage.schema.json describes it. `values` are those of the manifest
 * lines that fix the misses, from valuesFor.
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
    totals: report.totals,
  };
}

function findingJson(finding: CoverageFinding, values: ReadonlyMap<string, WrittenPlugin>): object {
  const { request, url, status, path, detail, warning, missing } = finding;
  const value = missing && values.get(missing.name);
  return {
    status,
    consumer: request.consumer,
    kind: request.kind,
    url,
    ...path,
    ...optional(request),
    ...(isMiss(finding) && request.disabled !== true ? { closesRoutes: request.failStrategy === 'FAIL_CLOSE' } : {}),
    source: request.source,
    ...(detail === undefined ? {} : { detail }),
    ...(warning === undefined ? {} : { warning }),
    ...(missing === undefined || value === undefined
      ? {}
      : { fix: { plugin: missing.name, line: manifestLine(missing.name, value) } }),
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
