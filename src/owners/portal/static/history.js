// The page of history: what was asked for and what became of it, a page at a time.

import { attempt, byId, element, fillList, fillTexts, follow, put, say, soon, start } from './shared/page.js';
import { ask, path, query } from './shared/requests.js';
import { foldOperations, operationTexts, REQUEST, targetText } from './shared/operations.js';

const PER_PAGE = 50;
const MOST = 1000; // of a request that goes on after what is visible
const target = new URLSearchParams(location.search).get('target'); // CLUSTER or CLUSTER/NODE; null: everything
let rights = [];
let count = PER_PAGE;

async function cancel(group) {
  for (const one of group.filter((each) => each.state === 'queued')) await ask('DELETE', path('operation', one.id));
  say(`Cancelled: ${targetText(group)}.`);
}

function fill(row, group, isNew) {
  if (isNew) row.append(element('button', { type: 'button' }, 'Cancel'), element('details', {}, element('summary', {}, 'Each node'), element('ul', { class: 'rows' })));
  const button = row.querySelector(':scope > button');
  button.hidden = !group.some((one) => one.state === 'queued') || !rights.includes('power');
  button.setAttribute('aria-label', `Cancel: ${targetText(group)}`);
  button.onclick = () => attempt(() => cancel(group));
  fillTexts(row, operationTexts(...group));
  const details = row.querySelector(':scope > details');
  details.hidden = group.length === 1;
  fillList(details.querySelector('ul'), details.hidden ? [] : group, (one) => one.id, (part, one) => fillTexts(part, operationTexts(one)), '');
}

// As many as are visible, and the whole request that the last of them belongs to.
async function read() {
  /** @type {Rest.Operation[]} */
  const found = [];
  let next = `${path('operation')}?${query({ limit: PER_PAGE, ...(target && { target }) })}`;
  const isWithin = () => found.length < count + MOST && found.slice(count - 1).every((one, index, rest) => !index || Date.parse(rest[index - 1].created) - Date.parse(one.created) < REQUEST);
  while (next !== null && (found.length < count || isWithin())) {
    const answer = await ask('GET', next);
    found.push(...answer.content);
    next = answer.next;
  }
  fillList(byId('operations'), foldOperations(found), (group) => group.at(-1).id, fill, 'Nothing was asked for yet.');
  byId('more').hidden = next === null;
}

const readSoon = soon(read);
byId('more').addEventListener('click', () => {
  count += PER_PAGE;
  readSoon();
});
if (target) {
  put(document.querySelector('h1'), `History of ${target}`);
  document.title = `History of ${target} · Nucleus`;
  byId('all').hidden = false;
}
start((user, { scopes }) => {
  rights = scopes;
  follow(['operation.state'], readSoon);
});
