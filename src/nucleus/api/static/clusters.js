// The page of owners: their clusters, computesets, operations and images, live, and what can be done with them.

import { ask, attempt, element, fillList, fillTexts, follow, path, put, say, soon, start } from './page.js';
import { Cluster } from './cluster.js';
import { operationTexts } from './operations.js';

const byId = (id) => document.getElementById(id);
const PER_PAGE = 25;
const LIVING = ['created', 'submitted', 'running', 'ending'];
const TYPES = ['node.power', 'node.image', 'set.state', 'set.ready', 'operation.state', 'image.added', 'image.removed', 'poll.stale', 'poll.fresh'];
const cards = new Map();
const changedClusters = new Set();
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
  for (const cluster of clusters) {
    if (!cards.has(cluster.name)) {
      cards.set(cluster.name, new Cluster(cluster.name, cards.size < 2, readSoon));
      place.append(cards.get(cluster.name).element);
    }
    cards.get(cluster.name).update(cluster, images);
  }
  byId('nobodys')?.remove();
  if (!cards.size) place.append(element('p', { id: 'nobodys' }, 'There are no clusters of yours here. Ask your site to assign one to your project.'));
  byId('more').hidden = next === null;
}

async function readClusters() {
  const pattern = byId('pattern').value.trim();
  const query = new URLSearchParams({ limit: PER_PAGE, ...(pattern && { name: pattern }) });
  const answer = await ask('GET', `${path('cluster')}?${query}`);
  next = answer.next;
  present(answer.content, false);
}

async function readChanged() {
  const names = [...changedClusters];
  changedClusters.clear();
  if (names.includes('*')) return readClusters();
  for (const name of names) {
    if (cards.has(name)) cards.get(name).update((await ask('GET', path('cluster', name))).content, images);
  }
}

async function readSets() {
  const query = LIVING.map((one) => `state=${one}`).join('&');
  const { content } = await ask('GET', `${path('computeset')}?${query}`);
  fillList(byId('sets'), content, (one) => one.id, (row, one, isNew) => {
    if (isNew) {
      const end = (action, question) => () => confirm(question) && attempt(async () => {
        await ask('PUT', path('computeset', one.id, action));
        say(`Set ${one.id} will end.`);
        readSetsSoon();
      });
      row.append(
        element('button', { type: 'button', onclick: end('shutdown', `Shut the nodes of set ${one.id} down, and end it?`), 'aria-label': `End set ${one.id}` }, 'End'),
        element('button', { type: 'button', onclick: end('poweroff', `Power the nodes of set ${one.id} off at once, and end it?`), 'aria-label': `End set ${one.id} at once` }, 'End at once'),
      );
    }
    const until = one.start_time && new Date((one.start_time + one.walltime_mins * 60) * 1000).toLocaleString();
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
    row.querySelector('button').hidden = one.state !== 'queued';
    fillTexts(row, operationTexts(one));
  }, 'Nothing was asked for yet.');
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

function readSoon(name) {
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
start(async (user) => {
  await showDuty(user);
  follow(TYPES, changed);
});
