import { formatBytes } from '../../../base/words.ts';
import { readTarget } from '../../http/requestTarget.ts';
import { type DamagedFile, faultText, servedText } from '../site/damage.ts';
import { type Html, html } from '../site/html.ts';
import type { Reader } from '../site/layout.ts';
import type { Translate, WordKey } from '../site/words.ts';
import { reasonText } from './notFoundPage.ts';
import type { MissingEntry, StatusReport } from './statusReport.ts';

const SHOWN_DOWNLOADS = 100;

/** Returns the body of /status. It begins with what is wrong. */
export function statusBody(reader: Reader, report: StatusReport): Html {
  const { t } = reader;
  const { notReady, damaged, missing, slow } = report;
  const isGood = notReady === null && damaged.length === 0 && missing.length === 0;
  return html`<h1>${t('status')}</h1>
<p class="lead">${t('sinceStart', { time: report.server.startedAt.slice(0, 16).replace('T', ' ') })} · <a href="status.json">JSON</a></p>
${notReady !== null && html`<p class="note bad">${t('notReady')} ${notReady}</p>`}
${isGood && html`<p class="note good">${t('allGood')}</p>`}
${missing.length > 0 && missingSection(reader, report)}
${damaged.length > 0 && damagedSection(t, damaged)}
${slow.length > 0 && slowSection(t, slow)}
${figures(t, report)}
${downloadsSection(reader, report)}
${optionsSection(t, report)}`;
}

function figures(t: Translate, { tree, load, server, missingAnswers }: StatusReport): Html {
  const fact = (label: WordKey, value: string | number, small?: string) =>
    html`<div><dt>${t(label)}</dt><dd>${value}${small !== undefined && html`<small>${small}</small>`}</dd></div>`;
  const reads = load.cacheHits + load.cacheMisses;
  const hits = reads === 0 ? undefined : t('cacheHits', { percent: Math.round((100 * load.cacheHits) / reads) });
  return html`<dl class="facts">
${tree !== null && fact('plugins', tree.plugins, t('versionsAndSize', { versions: tree.versions, size: formatBytes(tree.sizeBytes) }))}
${tree?.changedAt != null && fact('treeChanged', tree.changedAt.slice(0, 10), `${tree.changedAt.slice(11, 16)} UTC`)}
${fact('running', load.bodiesRunning, t('queued', { count: load.bodiesWaiting }))}
${fact('connections', load.connections)}
${fact('missingAnswers', missingAnswers)}
${fact('cache', formatBytes(load.cacheBytes), hits)}
${fact('memory', formatBytes(server.memoryBytes))}</dl>`;
}

function missingSection(reader: Reader, { missing }: StatusReport): Html {
  const { t } = reader;
  const row = ({ path, count, error, lastAt, client, userAgent, reason }: MissingEntry) =>
    html`<tr><td class="num" data-label="${t('times')}">${error > 0 ? `≥ ${count}` : count}</td><th scope="row" class="key"><code>${readTarget(path)?.path ?? path}</code><p class="hint">${t('lastRequest', { time: lastAt.slice(0, 19).replace('T', ' '), client })}${userAgent !== '' && html` <code>${userAgent}</code>`}</p></th><td class="about-col">${reason === null ? t('noTree') : reasonText(reader, reason)}</td></tr>`;
  return html`<h2>${t('missingTitle')}</h2><p class="hint">${t('missingHint')}</p>
${table(t('missingTitle'), [t('times'), t('path'), t('reason')], missing.map(row), [t('times')])}`;
}

function damagedSection(t: Translate, damaged: readonly DamagedFile[]): Html {
  const rows = damaged.map(
    ({ path, fault, served }) =>
      html`<tr><th scope="row" class="key"><code>${path}</code></th><td data-label="${t('reason')}">${faultText(t, fault)}</td><td data-label="${t('clientsGet')}">${servedText(t, served)}</td></tr>`,
  );
  return html`<h2>${t('damagedTitle')}</h2><p class="hint">${t('damagedHint')}</p>${table(t('damagedTitle'), [t('file'), t('reason'), t('clientsGet')], rows)}`;
}

function slowSection(t: Translate, slow: StatusReport['slow']): Html {
  const rows = slow.map(
    ({ plugin, version, client, at, durationMs, sentBytes, isCut }) =>
      html`<tr><th scope="row">${plugin} ${version}</th><td>${isCut ? html`<span class="tag bad">${t('cut')}</span>` : html`<span class="tag warn">${t('slow')}</span>`}</td><td class="num" data-label="${t('duration')}">${(durationMs / 1000).toFixed(1)} s</td><td class="num" data-label="${t('sent')}">${formatBytes(sentBytes)}</td><td data-label="${t('client')}">${client}</td><td class="nowrap" data-label="${t('time')}">${at.slice(0, 19).replace('T', ' ')}</td></tr>`,
  );
  return html`<h2>${t('slowTitle')}</h2>${table(t('slowTitle'), [t('plugin'), '', t('duration'), t('sent'), t('client'), t('time')], rows, [t('duration'), t('sent')])}`;
}

function downloadsSection({ t, root }: Reader, { downloads }: StatusReport): Html {
  if (downloads.length === 0) return html`<h2>${t('downloads')}</h2><p class="dim">${t('noDownloads')}</p>`;
  const rows = downloads.slice(0, SHOWN_DOWNLOADS).map(({ plugin, version, answers, sentBytes }) => {
    const link = `${root}catalog/${encodeURIComponent(plugin)}/?version=${encodeURIComponent(version)}`;
    const others = Object.entries(answers)
      .filter(([status]) => status !== '200')
      .map(([status, count]) => `${status}: ${count}`);
    return html`<tr><th scope="row"><a href="${link}">${plugin} ${version}</a></th><td class="num" data-label="200">${answers[200] ?? 0}</td><td data-label="${t('otherAnswers')}">${others.join(', ')}</td><td class="num" data-label="${t('sent')}">${formatBytes(sentBytes)}</td></tr>`;
  });
  return html`<h2>${t('downloads')}</h2>${table(t('downloads'), [t('plugin'), '200', t('otherAnswers'), t('sent')], rows, ['200', t('sent')])}`;
}

function optionsSection(t: Translate, { options, server, tree, lockfile }: StatusReport): Html {
  const values: [string, unknown][] = [
    ['plugin-mirror', server.version],
    ['Node.js', server.node],
    ...(tree === null
      ? []
      : ([
          [t('tree'), tree.digest],
          ['sha256 index.json', tree.indexSha256],
        ] as [string, unknown][])),
    ...(lockfile === null ? [] : [[t('lockfile'), lockfile.digest ?? t('lockfileUnreadable')] as [string, unknown]]),
    ...Object.entries(options),
  ];
  const rows = values.map(
    ([name, value]) =>
      html`<tr><th scope="row">${name}</th><td class="key"><code>${typeof value === 'string' ? value : JSON.stringify(value)}</code></td></tr>`,
  );
  return html`<details><summary><h2 id="options">${t('buildAndOptions')}</h2></summary>${table(t('buildAndOptions'), [t('option'), t('value')], rows)}</details>`;
}

/** @param numeric texts of the columns of numbers, which are aligned on the right */
function table(label: string, heads: readonly string[], rows: readonly Html[], numeric: readonly string[] = []): Html {
  const head = heads.map(text =>
    text === '' ? html`<td></td>` : html`<th scope="col"${numeric.includes(text) && html` class="num"`}>${text}</th>`,
  );
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${label}"><table class="stack"><thead><tr>${head}</tr></thead><tbody>${rows}</tbody></table></div>`;
}
