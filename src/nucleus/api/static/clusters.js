// The page of owners: their clusters, computesets, operations and images, live, and what can be done with them.

import { ask, attempt, element, fillList, fillTexts, follow, path, put, Refusal, say, SignedOut, some, soon, start, time } from './page.js';
import { Cluster } from './cluster.js';
import { operationTexts } from './operations.js';

const byId = (id) => document.getElementById(id);
const PER_PAGE = 25;
const SCOPES = [['power', 'power'], ['computeset', 'computesets'], ['image', 'CD drives'], ['console', 'consoles']];
const LIVING = ['created', 'submitted', 'running', 'ending'];
const TYPES = ['node.power', 'node.image', 'set.state', 'set.ready', 'operation.state', 'image.added', 'image.removed', 'poll.stale', 'poll.fresh'];
const cards = new Map();
const changedClusters = new Set();
const asked = new Set(); // operations of this visit that have not ended
let rights = [];
let images = [];
let next = null;

function present(clusters, isMore) {
  const place = byId('clusters');
  if (!isMore) {
    for (const name of [...cards.keys()].filter((one) => !clusters.some((other) => other.name === one))) {
      cards.get(name).element.remove();
      cards.delete(name);
    }
  }
  byId('nobodys')?.remove();
  clusters.forEach((cluster, index) => {
    if (!cards.has(cluster.name)) {
      const card = new Cluster(cluster.name, cards.size < 2, rights, readSoon);
      cards.set(cluster.name, card);
      place.insertBefore(card.element, isMore ? null : place.children[index] ?? null);
    }
    cards.get(cluster.name).update(cluster, images);
  });
  const pattern = byId('pattern').value.trim();
  if (!cards.size) place.append(element('p', { id: 'nobodys' }, pattern ? `None of your clusters is called ${pattern}.`
    : 'There are no clusters of yours here. Ask your site to assign one to your project.'));
  byId('more').hidden = next === null;
}

// At least so many of them, as far as there are.
async function readClusters(count = PER_PAGE) {
  const pattern = byId('pattern').value.trim();
  const found = [];
  next = `${path('cluster')}?${new URLSearchParams({ limit: PER_PAGE, ...(pattern && { name: pattern }) })}`;
  do {
    const answer = await ask('GET', next);
    found.push(...answer.content);
    next = answer.next;
  } while (next !== null && found.length < count);
  present(found, false);
}

async function readChanged() {
  while (changedClusters.size) {
    const name = changedClusters.has('*') ? '*' : changedClusters.values().next().value;
    try {
      if (name === '*') await readClusters(cards.size);
      else if (cards.has(name)) cards.get(name).update((await ask('GET', path('cluster', name))).content, images);
    } catch (error) {
      if (error.isPassing || error instanceof SignedOut || !(error instanceof Refusal)) throw error; // what is not read yet stays in the set
    }
    if (name === '*') changedClusters.clear();
    else changedClusters.delete(name);
  }
}

async function readSets() {
  const query = LIVING.map((one) => `state=${one}`).join('&');
  const { content } = await ask('GET', `${path('computeset')}?${query}`);
  fillList(byId('sets'), content, (one) => one.id, (row, one, isNew) => {
    if (isNew) {
      const hidden = !rights.includes('computeset');
      const end = (action, question) => () => confirm(question) && attempt(async () => {
        await ask('PUT', path('computeset', one.id, action));
        say(`Set ${one.id} will end.`);
        readSetsSoon();
      });
      row.append(
        element('button', { type: 'button', onclick: end('shutdown', `Shut the nodes of set ${one.id} down, and end it?`), hidden, 'aria-label': `End set ${one.id}` }, 'End'),
        element('button', { type: 'button', onclick: end('poweroff', `Power the nodes of set ${one.id} off at once, and end it?`), hidden, 'aria-label': `End set ${one.id} at once` }, 'End at once'),
      );
    }
    const until = one.start_time && time((one.start_time + one.walltime_mins * 60) * 1000);
    fillTexts(row, [
      ['', `Set ${one.id} of ${one.cluster}`], [one.degraded ? 'warn' : '', one.degraded ? `${one.state}, degraded` : one.state],
      ['soft', `${one.nodes_ready} of ${one.nodes_total} nodes on`], ['soft', until ? `until ${until}` : `${one.walltime_mins} minutes`],
      ['soft', one.account && `charged to ${one.account}`],
    ]);
  }, 'No computeset is alive. Choose nodes of a cluster to start one.');
}

async function readOperations() {
  const { content } = await ask('GET', `${path('operation')}?limit=20`);
  fillList(byId('operations'), content, (one) => one.id, (row, one, isNew) => {
    if (isNew) {
      const cancel = () => attempt(async () => {
        await ask('DELETE', path('operation', one.id));
        say(`Cancelled: ${one.kind}.`);
      });
      row.append(element('button', { type: 'button', onclick: cancel, 'aria-label': `Cancel ${one.kind} ${one.node ?? one.cluster ?? ''}` }, 'Cancel'));
    }
    row.querySelector('button').hidden = one.state !== 'queued' || !rights.includes('power');
    fillTexts(row, operationTexts(one));
  }, 'Nothing was asked for yet.');
  await reportFailures(content);
}

// What was asked for here and has failed is reported where the visitor looks; the list may be far away.
async function reportFailures(newest) {
  if (!asked.size) return;
  const ended = newest.length < 20 ? newest : (await ask('GET', `${path('operation')}?state=failed&limit=100`)).content;
  const failed = ended.filter((one) => one.state === 'failed' && asked.has(one.id));
  for (const one of [...newest, ...failed]) if (!['queued', 'running'].includes(one.state)) asked.delete(one.id);
  if (!failed.length) return;
  const byReason = new Map();
  for (const one of failed) {
    const reason = `${one.kind}: ${one.error?.detail ?? 'it failed'}`;
    byReason.set(reason, [...(byReason.get(reason) ?? []), one.node ?? one.cluster ?? '']);
  }
  say(some([...byReason].map(([reason, names]) => `${some(names)}: ${reason}`), 3), 'Failed');
}

async function readImages() {
  images = (await ask('GET', path('image'))).content;
  fillList(byId('images'), images, (one) => one.name, (row, one) => fillTexts(row, [
    ['', one.name], [one.state === 'ready' ? '' : 'warn', one.state], ['soft', `${(one.size / 2 ** 20).toFixed(1)} MiB`],
    ['soft', one.in_use ? `in ${one.in_use} nodes` : ''],
  ]), 'There are none. comet image upload brings one here.');
  for (const card of cards.values()) card.offer(images);
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

const readClustersSoon = soon(readChanged);
const readSetsSoon = soon(readSets);
const readOperationsSoon = soon(readOperations);
const readImagesSoon = soon(readImages);

function readSoon(name, operation) {
  if (operation) asked.add(operation);
  changedClusters.add(name);
  readClustersSoon();
  readSetsSoon();
  readOperationsSoon();
}

function changed(type, data) {
  const kind = type.split('.')[0];
  if (kind === 'image' || type === 'all') readImagesSoon();
  if (kind === 'node' && data.cluster) {
    changedClusters.add(data.cluster);
    readClustersSoon();
  } else if (kind !== 'image' && kind !== 'operation') readSoon(data.cluster ?? '*');
  else readOperationsSoon();
}

byId('search').addEventListener('submit', (event) => {
  event.preventDefault();
  attempt(readClusters);
});
byId('more').addEventListener('click', () => attempt(async () => {
  const answer = await ask('GET', next);
  next = answer.next;
  present(answer.content, true);
}));
start(async (user, { scopes }) => {
  rights = scopes;
  const missing = SCOPES.filter(([name]) => !rights.includes(name));
  byId('rights').hidden = !missing.length;
  put(byId('rights'), `Your token does not allow ${missing.map(([, text]) => text).join(', ')}, so this page does not offer them. `
    + `comet token create --scopes=${SCOPES.map(([name]) => name).join(',')} makes a token that does.`);
  await showDuty(user);
  follow(TYPES, changed);
});
