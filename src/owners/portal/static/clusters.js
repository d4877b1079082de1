// The page of clusters: the state of each, live.

import { attempt, byId, element, fillList, fillTexts, follow, put, say, some, soon, start } from './shared/page.js';
import { ask, path, query, Refusal, SignedOut } from './shared/requests.js';
import { nodesOf, setsOf, setText } from './shared/clusters.js';
import { endQuestion, endTitle } from './shared/sets.js';

const PER_PAGE = 25;
const SCOPES = [['power', 'power'], ['computeset', 'computesets'], ['image', 'CD drives'], ['console', 'consoles']];
const TYPES = ['node.power', 'node.removed', 'set.state', 'poll.stale', 'poll.fresh'];
/** @type {Map<string, Rest.Cluster>} */
const rows = new Map(); // clusters by their names, as they are in the list
const changedClusters = new Set();
let wanted = PER_PAGE; // so many are visible, as far as there are
let next = null;
let mayEnd = false;

// A button for each set that does not end yet.
/** @param {HTMLElement} place @param {Rest.Cluster} cluster */
function offerEnds(place, cluster) {
  const numbers = [...setsOf(cluster)].filter(([, state]) => mayEnd && state !== 'ending').map(([number]) => number);
  if (place.dataset.sets === numbers.join()) return; // a button that has the focus stays
  place.dataset.sets = numbers.join();
  place.replaceChildren(...numbers.map((id) => {
    const one = { id, cluster: cluster.name };
    const nodes = () => some(rows.get(cluster.name).computes.filter((node) => node.active_computeset === id).map((node) => node.name));
    const onclick = () => endQuestion(one, 'shutdown', nodes(), () => changed('set.state', one));
    return element('button', { type: 'button', class: 'destructive', 'aria-label': endTitle(one, 'shutdown'), onclick }, `End set ${id}`);
  }));
}

function present(clusters, isMore) {
  if (!isMore) rows.clear();
  for (const cluster of clusters) rows.set(cluster.name, cluster);
  const pattern = byId('pattern').value.trim();
  fillList(byId('clusters'), [...rows.values()], (one) => one.name, (row, one, isNew) => {
    if (isNew) row.append(element('a', { href: `cluster?${new URLSearchParams({ name: one.name })}` }, one.name), element('p', { class: 'about what' }), element('div', { class: 'end' }));
    const nodes = nodesOf(one);
    const on = nodes.filter((node) => node.power === 'on').length;
    fillTexts(row.querySelector('p'), [
      [on ? 'power on' : 'power', `${on} of ${nodes.length} on`], ['', [...setsOf(one)].map(([number, state]) => setText(number, state)).join(', ')], ['soft', one.description],
      ['soft', one.project && `project ${one.project}`], ['warn', one.stale ? 'stale: seen' : '', one.stale ? one.observed_at : null],
    ]);
    offerEnds(row.querySelector('.end'), one);
  }, pattern ? `None of your clusters is called ${pattern}.` : 'There are no clusters of yours here. Ask your site to assign one to your project.');
  byId('more').hidden = next === null;
}

async function readClusters() {
  const pattern = byId('pattern').value.trim();
  const found = [];
  next = `${path('cluster')}?${query({ limit: PER_PAGE, ...(pattern && { name: pattern }) })}`;
  do {
    const answer = await ask('GET', next);
    found.push(...answer.content);
    next = answer.next;
  } while (next !== null && found.length < wanted);
  present(found, false);
}

async function readChanged() {
  while (changedClusters.size) {
    const name = changedClusters.has('*') ? '*' : changedClusters.values().next().value;
    try {
      if (name === '*') await readClusters();
      else if (rows.has(name)) present([(await ask('GET', path('cluster', name))).content], true);
    } catch (error) {
      if (error.isPassing || error instanceof SignedOut || !(error instanceof Refusal)) throw error; // what is not read yet stays in the set
    }
    if (name === '*') changedClusters.clear();
    else changedClusters.delete(name);
  }
}

async function showDuty(user) {
  const { content } = user.acknowledged_at ? { content: {} } : await ask('GET', path('user', 'acknowledgement'));
  byId('duty').hidden = !content.is_required;
  put(byId('duty-text'), content.text ?? '');
  byId('duty-accept').onclick = () => attempt(async () => {
    await ask('PUT', path('user', 'acknowledgement'), { version: content.version });
    byId('duty').hidden = true;
    say('Acknowledged.');
  });
}

const readSoon = soon(readChanged);

function changed(type, data) {
  changedClusters.add(data.cluster ?? '*');
  readSoon();
}

byId('search').addEventListener('submit', (event) => {
  event.preventDefault();
  wanted = PER_PAGE;
  attempt(readClusters);
});
byId('more').addEventListener('click', () => {
  wanted += PER_PAGE;
  changed('more', {});
});
start(async (user, { scopes }) => {
  mayEnd = scopes.includes('computeset');
  const missing = SCOPES.filter(([name]) => !scopes.includes(name));
  byId('rights').hidden = !missing.length;
  put(byId('rights'), `Your token does not allow ${missing.map(([, text]) => text).join(', ')}, so this page does not offer them. `
    + `comet token create --scopes=${SCOPES.map(([name]) => name).join(',')} makes a token that does.`);
  await showDuty(user);
  follow(TYPES, changed);
});
