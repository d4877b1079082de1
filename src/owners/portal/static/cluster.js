// The page of a cluster: its nodes, what is being done with each, and where their disks are.

import { byId, element, fillList, follow, put, say, soon, start, time } from './shared/page.js';
import { ask, path, Refusal, SignedOut } from './shared/requests.js';
import { Actions } from './actions.js';
import { fillNode, unchanged } from './nodes.js';
import { doneText, foldOperations, isLiving, operationText, targetText } from './shared/operations.js';
import { question } from './shared/question.js';
import { describe, nodesOf, picture, setsText } from './shared/picture.js';

const name = new URLSearchParams(location.search).get('name') ?? '';
const TYPES = ['node.power', 'node.image', 'set.state', 'operation.state', 'image.added', 'image.removed', 'poll.stale', 'poll.fresh'];
const MANY = 24; // from here on, a list of its own height, and a field that finds nodes in it
const chosen = new Set();
const asked = new Map(); // operation of this visit → whether its end was reported; one that fails stays beside its node
const operations = new Map(); // node, or number of a set → its newest operation, when that is under way or failed; else null
const before = new Map(); // node → the operation for which its newest one waits
const switched = new Map(); // node → the newest operation that switched it on or off
const IS_ON = { poweron: true, start_member: true, poweroff: false, shutdown: false, poweroff_member: false, shutdown_member: false };
let rights = [];
let cluster = null;
let actions = null;

function draw() {
  for (const one of document.querySelectorAll('#content > section')) one.hidden = cluster === null;
  byId('sets').hidden = !cluster || !setsText(cluster);
  if (!cluster) return;
  const nodes = nodesOf(cluster);
  for (const one of chosen) if (!nodes.some((node) => node.name === one)) chosen.delete(one);
  const on = nodes.filter((node) => node.power === 'on').length;
  put(byId('about'), [
    cluster.description, `${on} of ${nodes.length} nodes on`, setsText(cluster), cluster.project && `project ${cluster.project}`,
    cluster.vlan && `VLAN ${cluster.vlan}`, cluster.stale && `stale: seen ${time(cluster.observed_at)}`,
  ].filter(Boolean).join(' · '));
  byId('about').classList.toggle('warn', cluster.stale);
  const isMany = nodes.length > MANY;
  byId('find').hidden = !isMany;
  byId('nodes').classList.toggle('many', isMany);
  const part = isMany ? byId('part').value.trim().toLowerCase() : '';
  const visible = nodes.filter((node) => node.name.toLowerCase().includes(part));
  put(byId('found'), `${visible.length} of ${nodes.length}`);
  fillList(byId('nodes'), visible, (node) => node.name, (row, node, isNew) => fillNode(row, isNew, {
    cluster, node, operation: operationOf(node), before: before.get(node.name), switched: switchedOf(node), isChosen: chosen.has(node.name), isChoosable: actions.isAny, mayOpen: rights.includes('console'),
    choose: (isChosen) => {
      if (isChosen) chosen.add(node.name);
      else chosen.delete(node.name);
      draw();
    },
  }), isMany ? 'No node has that in its name.' : 'It has no nodes.');
  actions.update(cluster, visible, chosen);
  byId('disks').replaceChildren(element('p', { class: 'about soft' }, describe(cluster)), picture(cluster));
}

const targetOf = (operation) => operation.node ?? operation.computeset;

// What is beside a node: what is done to it, or to its set; a failure to start it while it is off, and in that set.
function operationOf(node) {
  const [own, whole] = [operations.get(node.name), operations.get(node.active_computeset)];
  if (isLiving(own)) return own;
  if (isLiving(whole)) return whole.kind === 'start_set' && node.power === 'on' ? null : whole;
  if (own === undefined) return node.power === 'on' ? null : whole;
  return own?.kind === 'start_member' && (node.power === 'on' || own.computeset !== node.active_computeset) ? null : own;
}

// Not when somebody else, or its system, has switched it since.
function switchedOf(node) {
  const one = switched.get(node.name);
  return one && IS_ON[one.kind] === (node.power === 'on') ? one : null;
}

// What was asked for is beside its node at once; the event of its end comes later.
function began(operation) {
  asked.set(operation.id, false);
  operations.set(targetOf(operation), operation);
  draw();
  readSoon();
}

async function readOperations() {
  const { content } = await ask('GET', `${path('operation')}?${new URLSearchParams({ target: name, limit: 200 })}`);
  for (const map of [operations, before, switched]) map.clear();
  for (const one of content) {
    const target = targetOf(one);
    const isShown = isLiving(one) || (one.state === 'failed' && (asked.has(one.id) || one.kind === 'start_member'));
    if (!operations.has(target)) operations.set(target, isShown ? one : null);
    else if (isLiving(one) && operations.get(target)?.state === 'queued') before.set(target, one);
    if (one.state === 'succeeded' && one.kind in IS_ON && !switched.has(one.node)) switched.set(one.node, one);
  }
  reportEnds(content.filter((one) => asked.get(one.id) === false));
}

// Says what became of what was asked for here: failures of sets at once, since nodes have theirs beside them; successes when all have ended.
function reportEnds(unreported) {
  const failed = unreported.filter((one) => !one.node && one.state === 'failed');
  if (failed.length) say(failed.map((one) => `${operationText([one])}: ${one.error?.detail ?? 'without a reason'}`).join(', '), 'Failed');
  else if (actions.isAsking || unreported.some(isLiving)) return;
  const done = foldOperations(unreported.filter((one) => one.state === 'succeeded'));
  if (!failed.length && done.length) say(`${done.map((group) => `${targetText(group)} ${doneText(group[0])}`).join(', ')}.`);
  for (const one of unreported) if (!isLiving(one)) asked.set(one.id, true);
}

async function read() {
  try {
    const [{ content }] = await Promise.all([ask('GET', path('cluster', name)), readOperations()]);
    cluster = content;
  } catch (error) {
    if (error.isPassing || error instanceof SignedOut || !(error instanceof Refusal)) throw error;
    put(byId('about'), error.status === 404 ? `There is no cluster ${name} of yours${cluster ? ' any more' : ''}.` : `${error.message}.`);
    cluster = null;
  }
  draw();
}

const readSoon = soon(read);
const readImagesSoon = soon(async () => actions.offer((await ask('GET', path('image'))).content));

setInterval(draw, 60_000); // pictures of screens are renewed
byId('remove').addEventListener('click', () => {
  const same = unchanged(cluster, readSoon);
  question({
    title: `Remove the cluster ${name}?`, text: 'All of its nodes are removed, which must be off. You cannot undo this. Their disks stay with the site.', action: 'Remove', isDestructive: true,
    fields: [{ name: 'confirm', label: `Type ${name} to confirm`, input: element('input', { maxlength: 128, autocomplete: 'off' }) }],
    act: async (values) => began((await same.ask('DELETE', `${path('cluster', name)}?${new URLSearchParams(values)}`)).content),
  });
});
byId('part').addEventListener('input', draw);
put(document.querySelector('h1'), name);
document.title = `${name} · Nucleus`;
start(async (user, { scopes }) => {
  rights = scopes;
  actions ??= new Actions(byId('actions'), rights, { began, changed: readSoon, draw });
  byId('remove').hidden = !rights.includes('cluster:destroy');
  follow(TYPES, (type, data) => {
    if (type === 'all' || type.startsWith('image.')) readImagesSoon();
    if (!data.cluster || data.cluster === name) readSoon();
  });
});
