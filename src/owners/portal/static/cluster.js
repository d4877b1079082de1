// The page of a cluster: its computesets, its nodes, and what is being done with each.

import { byId, element, fillList, fillTexts, follow, put, putMoment, say, soon, start } from './shared/page.js';
import { ask, path, query, Refusal, SignedOut } from './shared/requests.js';
import { Actions } from './actions.js';
import { Doings, entryOf, openConsole, unchanged } from './nodes.js';
import { doneText, foldOperations, isLiving, operationText, targetText } from './shared/operations.js';
import { question } from './shared/question.js';
import { disksText, isOn, isWaiting, nodesOf, setText } from './shared/clusters.js';
import { aheadText, endsSoon, endsText, extendQuestion, LIVING, mayExtend } from './shared/sets.js';
import { NodeTable } from './table.js';

const name = new URLSearchParams(location.search).get('name') ?? '';
const TYPES = ['node.power', 'node.removed', 'node.image', 'set.state', 'set.ready', 'set.ends', 'operation.state', 'image.added', 'image.removed', 'poll.stale', 'poll.fresh'];
const AGAIN = 5000; // no event says that it is known why a set waits
const MANY = 16; // from here on, where the disks are is counted, too
/** @type {Set<string>} */
const chosen = new Set();
const doings = new Doings();
/** @type {Set<number>} */
const reportedWaits = new Set();
const nodeOf = (one) => nodesOf(cluster).find((node) => node.name === one);
const table = new NodeTable(draw, chosen, (one, type) => openConsole(cluster, nodeOf(one), type));
/** @type {string[]} */
let rights = [];
/** @type {Rest.Cluster | null} */
let cluster = null;
/** @type {Rest.Computeset[]} */
let sets = [];
/** @type {Actions | null} */
let actions = null;
let again = null;

function draw() {
  byId('nodes-part').hidden = cluster === null;
  byId('remove').hidden = cluster === null || !rights.includes('cluster:destroy');
  byId('gone').hidden = cluster !== null;
  if (!cluster) return;
  const nodes = nodesOf(cluster);
  const names = new Set(nodes.map((node) => node.name));
  const gone = [...chosen].filter((one) => !names.has(one) && chosen.delete(one) && !doings.removed.has(one));
  if (gone.length) say(`${gone.length === 1 ? `${gone[0]} is` : `${gone.length} selected nodes are`} not in the cluster any more.`);
  table.forget(names);
  putMoment(byId('about'), [
    cluster.description, `${nodes.filter(isOn).length} of ${nodes.length} nodes on`, nodes.length > MANY && disksText(cluster), cluster.project && `project ${cluster.project}`,
    cluster.vlan && `VLAN ${cluster.vlan}`, cluster.stale && 'stale: seen',
  ].filter(Boolean).join(' · '), cluster.stale ? cluster.observed_at : null);
  byId('about').classList.toggle('warn', cluster.stale);
  byId('nodes').classList.toggle('stale', cluster.stale);
  drawSets();
  const mayLook = rights.includes('console');
  table.fill(cluster, nodes.map((node) => entryOf(cluster, node, doings, mayLook)), actions.isAny);
  actions.update(cluster, chosen, { hidden: table.hidden() });
}

function drawSets() {
  byId('sets').hidden = !sets.length;
  fillList(byId('sets'), sets, (one) => one.id, (row, one, isNew) => {
    if (isNew) {
      row.append(
        element('button', { type: 'button', 'aria-label': `Select the nodes of set ${one.id}` }, 'Select'),
        element('button', { type: 'button', 'aria-label': `Extend set ${one.id}` }, 'Extend'),
      );
    }
    const [select, extend] = row.querySelectorAll('button');
    select.hidden = !actions.isAny;
    select.onclick = () => {
      for (const node of cluster.computes) if (node.active_computeset === one.id) chosen.add(node.name);
      draw();
    };
    extend.hidden = !rights.includes('computeset') || !mayExtend(one);
    extend.onclick = () => extendQuestion(one, began);
    fillTexts(row, [['', setText(one.id, one.state)], ['soft', `${one.nodes_total} node${one.nodes_total === 1 ? '' : 's'}`], [one.degraded ? 'warn' : '', one.degraded ? 'some nodes failed' : ''], [endsSoon(one) ? 'warn' : 'soft', one.state === 'ending' ? '' : aheadText(one)]]);
    if (isNew) row.append(element('a', { href: 'computesets', 'aria-label': `Computesets: why set ${one.id} waits, its charge, and its end` }, 'Details'));
  }, '');
}

/** @param {Rest.Operation} operation */
function began(operation) {
  doings.began(operation);
  draw();
  readSoon();
}

// Says what became of what was asked for here: failures of sets at once, since nodes have theirs beside them; successes when all have ended.
/** @param {Rest.Operation[]} unreported */
function reportEnds(unreported) {
  const failed = unreported.filter((one) => !one.node && one.state === 'failed');
  if (failed.length) say(failed.map((one) => `${operationText([one])}: ${one.error?.detail ?? 'without a reason'}`).join(', '), 'Failed');
  else if (actions.isAsking || unreported.some(isLiving)) return;
  const done = foldOperations(unreported.filter((one) => one.state === 'succeeded'));
  if (!failed.length && done.length) say(`${done.map((group) => `${targetText(group)} ${doneText(group[0])}`).join(', ')}.`);
  for (const one of unreported) if (!isLiving(one)) doings.asked.set(one.id, true);
}

// A set that was asked for here may wait for long before it starts: then the line at the end of the page says for what.
/** @param {Rest.Operation[]} unreported */
function reportWaits(unreported) {
  for (const one of sets) {
    if (!isWaiting(one.state) || !one.waiting || reportedWaits.has(one.id) || !unreported.some(({ kind, computeset }) => kind === 'start_set' && computeset === one.id)) continue;
    say(`Set ${one.id} of ${name} waits: ${aheadText(one)}.`);
    reportedWaits.add(one.id);
  }
  clearTimeout(again);
  if (sets.some((one) => isWaiting(one.state) && !one.waiting)) again = setTimeout(readSoon, AGAIN);
}

async function read() {
  try {
    const [{ content: found }, { content: operations }, { content: living }] = await Promise.all([
      ask('GET', path('cluster', name)), ask('GET', `${path('operation')}?${query({ target: name, limit: 200 })}`),
      ask('GET', `${path('computeset')}?${new URLSearchParams([['cluster', name], ...LIVING.map((one) => ['state', one])])}`),
    ]);
    [cluster, sets] = [found, living];
    const unreported = doings.take(operations);
    reportEnds(unreported);
    reportWaits(unreported);
  } catch (error) {
    if (error.isPassing || error instanceof SignedOut || !(error instanceof Refusal)) throw error;
    put(byId('about'), error.status === 404 ? `There is no cluster ${name} of yours${cluster ? ' any more' : ''}.` : `${error.message}.`);
    cluster = null;
  }
  draw();
}

const readSoon = soon(read);
const readImagesSoon = soon(async () => actions.offer((await ask('GET', path('image'))).content));

import('./metrics/sparklines.js').then(({ Sparklines }) => {
  table.sparklines = new Sparklines(name, { changed: draw, lacking: () => table.change('use', '') });
  if (cluster) draw();
}, () => {}); // a part that a site may lack
setInterval(draw, 60_000); // pictures of screens are renewed, and what remains of sets
byId('remove').addEventListener('click', () => {
  const same = unchanged(cluster, readSoon);
  question({
    title: `Remove the cluster ${name}?`, text: 'All of its nodes are removed, which must be off. You cannot undo this. Their disks stay with the site.', action: 'Remove', isDestructive: true,
    fields: [{ name: 'confirm', label: `Type ${name} to confirm`, input: element('input', { maxlength: 128, autocomplete: 'off' }) }],
    act: async (values) => began((await same.ask('DELETE', `${path('cluster', name)}?${new URLSearchParams(values)}`)).content),
  });
});
put(document.querySelector('h1'), name);
document.title = `${name} · Nucleus`;
start(async (user, { scopes }) => {
  rights = scopes;
  actions ??= new Actions(byId('actions'), rights, { began, changed: readSoon, draw });
  follow(TYPES, (type, data) => {
    if (type === 'all' || type.startsWith('image.')) readImagesSoon();
    if (data.cluster && data.cluster !== name) return;
    if (type === 'set.ends') say(endsText(data), 'Warning');
    readSoon();
  });
});
