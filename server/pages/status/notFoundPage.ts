import { type Html, html } from '../site/html.ts';
import { copyField, type Reader } from '../site/layout.ts';
import type { Translate } from '../site/words.ts';
import type { MissingReason } from './explainMissing.ts';

/** Returns the body of a 404 for people. */
export function notFoundBody(reader: Reader, path: string | undefined, reason: MissingReason): Html {
  const { t, root } = reader;
  return html`<h1>${t('notFound')}</h1>
${path !== undefined && html`<p><code>${path.slice(0, 500)}</code></p>`}
<div class="panel">${reasonText(reader, reason)}</div>
<p><a class="button" href="${root}${reason.name === undefined ? '' : `?q=${encodeURIComponent(reason.name.slice(0, 100))}`}">${t('searchCatalog')}</a></p>`;
}

/** The line before the URL that may be used instead. */
export function offerText(t: Translate, reason: MissingReason): string {
  const { kind, nearest, nearestVersion = '', isSameVersion } = reason;
  if (kind === 'plugin') return t('nearestPluginHere', { name: `${nearest[0]} ${nearestVersion}` });
  return t(isSameVersion ? 'sameVersionHere' : 'nearestVersionHere', { version: nearestVersion });
}

/** Why a path is missing, and what to do: for the 404 and for each line of the status page. */
export function reasonText({ t, root, address }: Reader, reason: MissingReason): Html {
  const { nearestPath } = reason;
  const { kind, name = '', version = '', nearest, versions, files, manifestLines, requestedBy } = reason;
  const shortName = name.slice(0, 150);
  const linked = (names: readonly string[], target: (each: string) => string) =>
    names.slice(0, 30).map((each, at) => html`${at > 0 && ', '}<a href="${root}${target(each)}">${each}</a>`);
  const plugin = `catalog/${encodeURIComponent(name)}/`;
  const cause = {
    placeholder: t('whyPlaceholder'),
    plugin: t('whyPlugin', { name: shortName }),
    version: t('whyVersion', { name: shortName, version: version.slice(0, 150) }),
    file: t('whyFile', { name: shortName, version: version.slice(0, 150) }),
    path: t('whyPath'),
    served: t('whyServed'),
  }[kind];
  const offer = offerText(t, reason);
  return html`<p>${cause}</p>
${nearestPath !== undefined && html`<p class="hint">${offer}</p>${copyField(t, address + nearestPath)}`}
${requestedBy.length > 0 && html`<p>${t('requestedByConsumers', { consumers: requestedBy.slice(0, 3).join(', ') })}${requestedBy.length > 3 && ` +${requestedBy.length - 3}`}</p>`}
${nearest.length > 0 && html`<p>${t('didYouMean')} ${linked(nearest, each => `catalog/${encodeURIComponent(each)}/`)}</p>`}
${versions.length > 0 && html`<p>${t('versionsHere')} ${linked(versions.slice(-30), each => `${plugin}?version=${encodeURIComponent(each)}`)}</p>`}
${files.length > 0 && html`<p>${t('filesHere')} ${linked(files, each => `plugins/${encodeURIComponent(name)}/${encodeURIComponent(version)}/${encodeURIComponent(each)}`)}</p>`}
${manifestLines.length > 0 && html`<p class="hint">${t('manifestLines')}</p>${copyField(t, manifestLines.join(',\n'))}`}`;
}
