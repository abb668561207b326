import pc from 'picocolors';
import { plural } from '../../base/words.ts';
import {
  type CoverageFinding,
  type CoverageReport,
  type CoverageStatus,
  isActiveMiss,
  isMiss,
} from '../../mirror/coverage/coverage.ts';
import { manifestLine, type WrittenPlugin } from '../../mirror/coverage/manifestLines.ts';
import { formatSource } from '../../mirror/coverage/requests/pluginRequest.ts';

export interface CoverageText {
  readonly report: CoverageReport;
  /** Lines of the manifest that fix misses, by plugin. */
  readonly values: ReadonlyMap<string, WrittenPlugin>;
  /** The manifest, tree, bundle or server in which the requests were looked up. */
  readonly servedBy: string;
  /** Plugins that --fix has written into the manifest. */
  readonly fixed: number;
  readonly manifest: string;
  /** List served requests as well. */
  readonly all: boolean;
  /** True if the manifest itself was compared, not a tree or a server. */
  readonly isManifest: boolean;
  readonly color: boolean;
}

const WORDS: Readonly<Record<CoverageStatus, string>> = {
  served: 'served',
  notFound: '404',
  otherPath: '404',
  sha256Differs: 'sha256',
  otherHost: 'other host',
  oci: 'oci',
  file: 'local file',
  fault: 'fault',
  invalid: 'invalid',
};

/** A table of the requests that are not plainly served, the lines that fix them, and the totals. */
export function renderCoverage(coverage: CoverageText): string {
  const { report, values, servedBy, fixed, manifest, all, isManifest, color } = coverage;
  const paint = pc.createColors(color);
  const { totals, problems } = report;
  const shown = report.findings.filter(finding => all || isMiss(finding) || finding.warning !== undefined);
  const rows = shown.map(finding => ({ finding, cells: cellsOf(finding) }));
  const widths = [0, 1, 2].map(at => Math.min(60, Math.max(0, ...rows.map(({ cells }) => cells[at]?.length ?? 0))));
  const lines = rows.flatMap(({ finding, cells }) => {
    const [status = '', path = '', consumer = ''] = cells.map((cell, at) => cell.padEnd(widths[at] ?? 0));
    const word = isActiveMiss(finding)
      ? paint.red(status)
      : finding.warning === undefined
        ? status
        : paint.yellow(status);
    return [`${word}  ${path}  ${consumer}  ${finding.detail ?? ''}`.trimEnd()];
  });
  const faults = problems.map(
    ({ source, found, expected, hint }) =>
      `${paint.yellow('problem')}  ${formatSource(source)}: found ${found}, expected ${expected}${hint === undefined ? '' : `\n  ${hint}`}`,
  );
  const fixes = [...values].map(([name, value]) => `    ${manifestLine(name, value)},`);
  const remedy =
    fixed > 0
      ? [`${paint.cyan('→')} ${manifest} has ${plural(fixed, 'changed plugin')} now; plugin-mirror sync fetches them.`]
      : fixes.length > 0
        ? [
            `${paint.cyan('→')} These lines of ${manifest} serve them; plugin-mirror coverage --fix writes them:`,
            ...fixes,
          ]
        : [];
  const isDue = !isManifest && fixed === 0 && report.findings.some(it => isActiveMiss(it) && isInManifest(it, values));
  return `${[
    ...lines,
    ...faults,
    headOf(report, servedBy, paint),
    ...(isDue ? [`${paint.cyan('→')} ${manifest} has the other versions: run plugin-mirror sync, then deploy.`] : []),
    ...remedy,
    ...(totals.warnings > 0
      ? [`${paint.cyan('→')} plugin-mirror init --higress RELEASE makes a manifest with the images of that release.`]
      : []),
  ].join('\n')}\n`;
}

function isInManifest({ missing }: CoverageFinding, values: ReadonlyMap<string, WrittenPlugin>): boolean {
  return missing !== undefined && !values.has(missing.name);
}

function cellsOf({ status, warning, path, url, request }: CoverageFinding): string[] {
  const word = request.disabled === true ? 'disabled' : warning === undefined ? WORDS[status] : 'warning';
  const where = request.kind === 'wasmplugin' ? ` (${formatSource(request.source)})` : '';
  const closes = request.failStrategy === 'FAIL_CLOSE' && request.kind === 'wasmplugin' ? ' FAIL_CLOSE' : '';
  return [word, path === undefined ? url : `${path.name}/${path.version}`, `${request.consumer}${closes}${where}`];
}

function headOf({ totals }: CoverageReport, servedBy: string, paint: ReturnType<typeof pc.createColors>): string {
  const counted = totals.requests - totals.disabled - totals.local;
  const rest = [
    ...(totals.closingRoutes > 0 ? [`${totals.closingRoutes} with FAIL_CLOSE not served`] : []),
    ...(totals.warnings > 0 ? [plural(totals.warnings, 'warning')] : []),
    ...(totals.local > 0 ? [plural(totals.local, 'local file')] : []),
    ...(totals.disabled > 0 ? [`${totals.disabled} disabled`] : []),
    ...(totals.problems > 0 ? [plural(totals.problems, 'problem')] : []),
  ];
  const sign = totals.notServed > 0 ? paint.red('✗') : totals.problems > 0 ? paint.yellow('!') : paint.green('✓');
  const more = rest.length === 0 ? '' : ` (${rest.join(', ')})`;
  return `${sign} ${servedBy}: ${totals.served} of ${plural(counted, 'request')} served${more}`;
}
