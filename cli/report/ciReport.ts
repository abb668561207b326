import { asError, asSystemFault, Refusal, rootOf } from '../../base/refusal.ts';
import type { CheckReport } from '../../mirror/check/check.ts';
import type { OutdatedRow } from '../../mirror/check/outdated.ts';
import type { Problem } from '../../mirror/json/problem.ts';
import { type Outcome, type SyncReport, withoutSubject } from '../../mirror/report.ts';
import type { VersionId } from '../../tree/names.ts';

/** A run in the form from which all reports for CI are written. */
export interface CiReport {
  readonly title: string;
  /** The manifest as the user named it. */
  readonly manifest: string;
  /** Every version that was looked at, `NAME VERSION`. */
  readonly subjects: readonly string[];
  readonly changes: readonly CiChange[];
  readonly findings: readonly CiFinding[];
}

/** What a run changed, or would change. */
export interface CiChange {
  readonly kind: 'updated' | 'added' | 'alias' | 'removed' | 'newer';
  readonly subject: string;
  readonly from?: string;
  readonly to?: string;
}

export interface CiFinding {
  readonly level: 'error' | 'warning';
  /** The code of an error, the kind of a difference in upper case, or for a warning FILE_CHANGED, TAG_MOVED or WARNING. */
  readonly code: string;
  /** `NAME VERSION`, if the finding is about one. */
  readonly subject?: string;
  readonly message: string;
  readonly hint?: string;
  /** The plugin and its version in the manifest, from which the line follows. */
  readonly name?: string;
  readonly version?: string;
  /** The position in the manifest, from 1. */
  readonly line?: number;
  readonly column?: number;
}

/** Not codes of errors: what a run reports as a warning. */
const [WARNING, FILE_CHANGED, TAG_MOVED] = ['WARNING', 'FILE_CHANGED', 'TAG_MOVED'];

const subjectOf = ({ name, version }: VersionId) => `${name} ${version}`;

export function ofSync(manifest: string, report: SyncReport): CiReport {
  const { outcomes, extras, drift, problems } = report;
  return {
    title: 'plugin-mirror sync',
    manifest,
    subjects: outcomes.map(subjectOf),
    changes: [
      ...outcomes.flatMap(outcome => changeOf(outcome) ?? []),
      ...extras.filter(it => it.removed).map((it): CiChange => ({ kind: 'removed', subject: subjectOf(it) })),
    ],
    findings: [
      ...outcomes.flatMap(({ error, ...outcome }) => (error === undefined ? [] : ofError(error, outcome))),
      ...problems.flatMap(problem => ofError(problem)),
      ...drift.map(
        ({ name, version, reference, lockedDigest, foundDigest, local }): CiFinding => ({
          level: 'warning',
          code: local ? FILE_CHANGED : TAG_MOVED,
          subject: subjectOf({ name, version }),
          message: `${reference} was ${lockedDigest}, and is now ${foundDigest}`,
          name,
          version,
        }),
      ),
      ...outcomes.flatMap(({ name, version, warnings }) =>
        warnings.map(
          (message): CiFinding => ({
            level: 'warning',
            code: WARNING,
            subject: subjectOf({ name, version }),
            message,
            name,
            version,
          }),
        ),
      ),
    ],
  };
}

function changeOf(outcome: Outcome): CiChange | undefined {
  const { status, digest, previousDigest, aliasOf, unchanged } = outcome;
  if (unchanged) return undefined;
  const subject = subjectOf(outcome);
  if (status === 'aliased') return { kind: 'alias', subject, ...(aliasOf === undefined ? {} : { to: aliasOf }) };
  const to = digest === undefined ? {} : { to: digest };
  if (previousDigest !== undefined) return { kind: 'updated', subject, from: previousDigest, ...to };
  return status === 'fetched' ? { kind: 'added', subject, ...to } : undefined;
}

export function ofCheck(manifest: string, subjects: readonly string[], report: CheckReport): CiReport {
  return {
    title: 'plugin-mirror check',
    manifest,
    subjects,
    changes: [],
    findings: [
      ...report.findings.map((finding): CiFinding => {
        const named = 'name' in finding ? { name: finding.name, version: finding.version } : {};
        return {
          level: finding.kind === 'untold' ? 'warning' : 'error',
          code: finding.kind.toUpperCase(),
          subject: 'name' in finding ? subjectOf(finding) : finding.path,
          message: finding.detail,
          ...named,
        };
      }),
      ...report.problems.flatMap(problem => ofError(problem)),
    ],
  };
}

export function ofOutdated(manifest: string, rows: readonly OutdatedRow[]): CiReport {
  return {
    title: 'plugin-mirror outdated',
    manifest,
    subjects: rows.map(({ name, wanted }) => subjectOf({ name, version: wanted ?? '' }).trim()),
    changes: rows.flatMap(({ name, wanted, latest, outdated }) =>
      outdated && latest !== undefined
        ? [{ kind: 'newer', subject: name, ...(wanted === undefined ? {} : { from: wanted }), to: latest }]
        : [],
    ),
    findings: rows.flatMap(({ name, wanted, error }) =>
      error === undefined ? [] : ofError(error, { name, version: wanted ?? '' }),
    ),
  };
}

/** The report of a run that ended before it had one. */
export function ofFailure(title: string, manifest: string, error: unknown): CiReport {
  return { title, manifest, subjects: [], changes: [], findings: ofError(error) };
}

/** A manifest with several mistakes is several findings, each with its line. */
function ofError(error: unknown, about?: VersionId): CiFinding[] {
  const root = asError(asSystemFault(rootOf(asError(error))));
  const code = root instanceof Refusal ? root.code : 'INTERNAL';
  const hint = root instanceof Refusal ? { hint: root.hint } : {};
  if ('problems' in root && code === 'MANIFEST_INVALID')
    return (root.problems as readonly Problem[]).map(({ place, found, expected, line, column, hint: words }) => ({
      level: 'error',
      code,
      message: `${place === '' ? '' : `${place}: `}found ${found}, expected ${expected}`,
      ...(words === undefined ? {} : { hint: words }),
      ...(line === undefined ? {} : { line }),
      ...(column === undefined ? {} : { column }),
    }));
  if (about === undefined) return [{ level: 'error', code, message: root.message, ...hint }];
  const { name, version } = about;
  const message = withoutSubject(root.message, about);
  return [{ level: 'error', code, subject: subjectOf(about), message, ...hint, name, version }];
}

/** Findings of one cause as one, with how many more there are: a registry that is down is one finding for people. */
export function byCause(findings: readonly CiFinding[]): { readonly finding: CiFinding; readonly count: number }[] {
  const groups = new Map<string, { finding: CiFinding; count: number }>();
  for (const finding of findings) {
    const key = `${finding.level} ${finding.code} ${finding.message} ${finding.line ?? ''}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { finding, count: 1 });
    else group.count += 1;
  }
  return [...groups.values()];
}
