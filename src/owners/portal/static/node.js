// The page of a node: what it is, what is being done with it, its consoles, and what happened to it.

import { attempt, byId, element, fillList, fillTexts, follow, put, putMoment, say, soon, start } from './shared/page.js';
import { ask, path, query, Refusal, SignedOut } from './shared/requests.js';
import { Actions } from './actions.js';
import { Doings, entryOf, openConsole, pathOf, screenOf } from './nodes.js';
import { doneText, foldOperations, isLiving, operationText, operationTexts } from './shared/operations.js';
import { diskOf, isOn, nodesOf } from './shared/clusters.js';
import { aheadText } from './shared/sets.js';
import { showScreen } from './screens.js';

const given = new URLSearchParams(location.search);
const [clusterName, name] = [given.get('cluster') ?? '', given.get('name') ?? ''];
const TYPES = ['node.power', 'node.removed', 'node.image', 'set.state', 'set.ready', 'set.ends', 'operation.state', 'image.added', 'image.removed', 'poll.stale', 'poll.fresh'];
const EVENTS = 20;
const LINES = 40;
const chosen = new Set([name]);
const doings = new Doings();
/** @type {string[]} */
let rights = [];
/** @type {Rest.Cluster | null} */
let cluster = null;
/** @type {import('./shared/clusters.js').Machine | null} */
let node = null;
/** @type {Rest.Computeset | null} */
let set = null;
/** @type {Rest.Operation[]} */
let operations = [];
/** @type {Actions | null} */
let actions = null;

const DISKS = {
  nas: 'on the NAS', host: 'on its host', 'NAS → host': 'is being copied from the NAS to its host; the node can run meanwhile',
  'host → NAS': 'is being written back to the NAS', way: 'between the NAS and its host',
};

function facts() {
  const entry = entryOf(cluster, node, doings, false);
  const disk = diskOf(node);
  const size = node.disksize ? `${node.disksize} GiB, ` : '';
  return [
    ['Power', entry.power, `power ${node.power}`], ['', entry.doing[1] === node.host_state ? '' : entry.doing[1], entry.doing[0]], ['Since', entry.sinceText, '', entry.since],
    ['Computeset', entry.set && [entry.set, set && aheadText(set)].filter(Boolean).join(', ')],
    ['Host', node.stale ? 'The site does not answer at present.' : node.host_state], ['CPU', node.cpus], ['Memory', entry.memory],
    ['Disk', size + (DISKS[disk.text] ?? DISKS[disk.place]), disk.place === 'way' ? 'warn' : ''], ['CD drive', entry.drive.replaceAll('CD ', '') || 'empty'],
    ['Public address', node.pub_ip], ['Netmask', node.pub_netmask], ['Gateway', node.gateway], ['Name servers', [node.dns1, node.dns2].filter(Boolean).join(', ')], ['Time server', node.ntp],
  ].filter(([, text, , moment]) => text || moment);
}

// Terms and what they are: rows stay where only their text differs.
function fillFacts(list, entries) {
  if (list.children.length !== entries.length * 2) list.replaceChildren(...entries.flatMap(() => [element('dt'), element('dd', {}, element('span'))]));
  entries.forEach(([term, text, kind, moment], index) => {
    put(list.children[index * 2], term || ' ');
    const place = list.children[index * 2 + 1].firstChild;
    place.className = kind ?? '';
    putMoment(place, String(text), moment);
  });
}

function draw() {
  byId('node-part').hidden = node === null;
  if (!node) return;
  byId('about').replaceChildren(node === cluster.frontend ? 'Frontend of ' : 'Compute of ', element('a', { href: `cluster?${new URLSearchParams({ name: cluster.name })}` }, cluster.name));
  byId('facts').classList.toggle('stale', node.stale);
  fillFacts(byId('facts'), facts());
  fillList(byId('interfaces'), node.interface, (one) => one.iface, (row, one) => fillTexts(row, [['', one.iface], ['', one.ip ?? 'no address'], ['soft', one.mac]]), 'The node has no interfaces.');
  const groups = foldOperations(operations);
  fillList(byId('events'), groups, (group) => group.at(-1).id, (row, group) => fillTexts(row, operationTexts(...group)), 'Nothing was asked for yet.');
  for (const one of byId('open').querySelectorAll('button')) one.hidden = !isOn(node);
  byId('screen').alt = `Screen of ${name}`;
  if (rights.includes('console')) showScreen(byId('sight'), byId('screen'), isOn(node) ? screenOf(cluster, node) : '');
  actions.update(cluster, chosen, { isFixed: true });
}

/** @param {Rest.Operation} operation */
function began(operation) {
  doings.began(operation);
  draw();
  readSoon();
}

/** @param {Rest.Operation[]} unreported */
function reportEnds(unreported) {
  for (const one of unreported.filter((each) => !isLiving(each))) {
    if (one.state === 'succeeded') say(`${name} ${doneText(one)}.`);
    else if (one.state === 'failed') say(`${operationText([one])}: ${one.error?.detail ?? 'without a reason'}`, 'Failed');
    doings.asked.set(one.id, true);
  }
}

async function read() {
  try {
    cluster = (await ask('GET', path('cluster', clusterName))).content;
    const found = nodesOf(cluster).find((one) => one.name === name);
    if (!found) throw new Refusal('it is not there');
    const number = found.active_computeset;
    const [{ content: own }, whole, sets] = await Promise.all([
      ask('GET', `${path('operation')}?${query({ target: `${clusterName}/${name}`, limit: EVENTS })}`),
      number ? ask('GET', `${path('operation')}?computeset=${number}&limit=5`) : { content: [] }, number ? ask('GET', path('computeset', number)) : { content: null },
    ]);
    node = found;
    set = sets.content;
    operations = own;
    const known = new Set(own.map((one) => one.id));
    reportEnds(doings.take([...own, ...whole.content.filter((one) => !known.has(one.id))].sort((one, other) => (one.id < other.id ? 1 : -1))));
  } catch (error) {
    if (error.isPassing || error instanceof SignedOut || !(error instanceof Refusal)) throw error;
    const isThere = cluster !== null && error.status === undefined;
    byId('about').replaceChildren(`There is no node ${name} in ${isThere ? 'this' : 'a'} cluster of yours${node ? ' any more' : ''}. `,
      element('a', isThere ? { href: `cluster?${new URLSearchParams({ name: clusterName })}` } : { href: 'clusters' }, isThere ? `All nodes of ${clusterName}` : 'Your clusters'));
    node = null;
  }
  draw();
}

async function readLog() {
  if (!node || !rights.includes('console')) return;
  const { content } = await ask('GET', `${pathOf(cluster, node, 'console', 'log')}?lines=${LINES}`);
  put(byId('log'), content.lines.length ? content.lines.join('\n') : `(${content.reason})`);
  byId('log').scrollTop = byId('log').scrollHeight;
}

const readSoon = soon(read);
const readImagesSoon = soon(async () => actions.offer((await ask('GET', path('image'))).content));
byId('again').addEventListener('click', () => attempt(readLog));
setInterval(draw, 60_000);
put(document.querySelector('h1'), name);
document.title = `${name} · Nucleus`;
byId('history').href = `history?${new URLSearchParams({ target: `${clusterName}/${name}` })}`;
byId('history').ariaLabel = `All events of ${name}`;
start(async (user, { scopes }) => {
  rights = scopes;
  actions ??= new Actions(byId('actions'), rights, { began, changed: readSoon, draw, renamed: (to) => location.replace(`node?${new URLSearchParams({ cluster: clusterName, name: to })}`) });
  byId('consoles').hidden = !rights.includes('console');
  byId('open').replaceChildren(...[['vnc', 'Screen'], ['serial', 'Serial']].map(([type, text]) => element('button', { type: 'button', 'aria-label': `${text} of ${name}`, onclick: () => openConsole(cluster, node, type) }, text)));
  await read();
  if (node && byId('plots').hidden) import('./metrics/plots.js').then(({ showPlots }) => showPlots(byId('plots'), clusterName, name), () => {}); // a part that a site may lack
  attempt(readLog, (message) => put(byId('log'), `(${message})`));
  follow(TYPES, (type, data) => {
    if (type === 'all' || type.startsWith('image.')) readImagesSoon();
    if (!data.cluster || data.cluster === clusterName) readSoon();
  });
});
