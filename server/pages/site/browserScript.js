// @ts-nocheck: runs in a browser, whose types this project does not load.
// Copy buttons, filtering while the reader types, and the key "/". Every page works without this file.

const said = document.getElementById('said');

function say(text) {
  if (said) said.textContent = text;
}

async function copy(text) {
  // The clipboard of the browser exists only on https and localhost; most mirrors are plain http.
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea');
  area.value = text;
  area.setAttribute('readonly', '');
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  if (!copied) throw new Error('The browser refused to copy');
}

document.addEventListener('click', event => {
  const button = event.target.closest?.('button[data-copy]');
  if (!button) return;
  const value = button.dataset.copy || button.previousElementSibling?.textContent || '';
  const text = value.startsWith('url:') ? new URL(value.slice(4), document.baseURI).href : value;
  copy(text).then(
    () => {
      const label = button.textContent;
      button.textContent = '✓';
      say(said?.dataset.copied ?? '');
      setTimeout(() => {
        button.textContent = label;
        button.focus();
      }, 1200);
    },
    () => getSelection()?.selectAllChildren(button.previousElementSibling ?? button),
  );
});

function showButtons() {
  for (const button of document.querySelectorAll('button[data-copy]')) button.hidden = false;
}
showButtons();

const form = document.querySelector('form.search');
const field = form?.querySelector('input[type=search]');

document.addEventListener('keydown', event => {
  if (!field || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches?.('input, select, textarea');
  if (event.key === '/' && !typing) {
    event.preventDefault();
    field.focus();
    field.select();
  } else if (event.key === 'Escape' && event.target === field && field.value !== '') {
    event.preventDefault();
    field.value = '';
    filter();
  }
});

let newest = 0;

/** The page has the cards of one query; the server has the rest. */
async function load() {
  const mine = ++newest;
  const query = new URLSearchParams(new FormData(form));
  for (const [name, value] of [...query]) if (value === '') query.delete(name);
  const url = `./${query.size > 0 ? `?${query}` : ''}`;
  const answer = await fetch(url, { headers: { Accept: 'text/html' } });
  if (!answer.ok || mine !== newest) return;
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const found = page.getElementById('found');
  if (mine !== newest || !found) return;
  document.getElementById('found')?.replaceWith(found);
  history.replaceState(null, '', url);
  showButtons();
  say(document.getElementById('count')?.textContent ?? '');
}

/** Hides cards of a complete list immediately; load() then asks the server. */
let timer;
function filter() {
  const list = document.getElementById('found');
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (list?.dataset.complete !== undefined) {
    for (const card of list.querySelectorAll('.card')) {
      const text = `${card.textContent} ${card.dataset.also ?? ''}`.toLowerCase();
      card.hidden = !words.every(word => text.includes(word));
    }
  }
  clearTimeout(timer);
  timer = setTimeout(() => load().catch(() => {}), 200);
}

if (form && field) {
  field.addEventListener('input', filter);
  for (const select of form.querySelectorAll('select')) select.addEventListener('change', () => form.requestSubmit());
}
