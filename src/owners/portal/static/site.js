// The page of operators: how fresh the mirror is, all clusters, what failed, hosts, users and the audit log.

import { byId, fillList, fillTexts, follow, put, soon, start } from './shared/page.js';
import { ask, path } from './shared/requests.js';
import { disksText, nodesOf } from './shared/clusters.js';
import { operationTexts } from './shared/operations.js';

const TYPES = ['node.power', 'node.removed', 'node.image', 'set.state', 'operation.state', 'poll.stale', 'poll.fresh'];

const list = (id, entries, keyOf, textsOf, nothing) =>
  fillList(byId(id), entries, keyOf, (row, one) => fillTexts(row, textsOf(one)), nothing);

async function readState() {
  const { content } = await ask('GET', 'page/site/state');
  list('alarms', content.alarms, (line) => line, (line) => [['bad', line]], 'None.');
  list('sources', content.sources, (one) => one.name, (one) => [
    ['', one.name], [one.failures ? 'bad' : '', one.failures ? `failed ${one.failures === 1 ? 'once' : `${one.failures} times`}` : 'answers'],
    ['soft', one.observed_at ? 'seen' : 'never seen', one.observed_at], ['soft', `${one.rows} rows in ${one.seconds.toFixed(2)} s`], ['bad', one.error ?? ''],
  ]);
  list('hosts', content.hosts, (one) => one.name, (one) => [
    ['', one.name],
    ['soft', one.machines.length ? '' : 'no machine'],
    ...one.machines.map((machine) => [machine.power === 'unknown' ? 'bad' : machine.power === 'on' ? '' : 'soft',
      `${machine.name} of ${machine.cluster} ${machine.power}${machine.computeset ? `, set ${machine.computeset}` : ''}`]),
  ], 'The list of hosts ([batch] hosts) is empty. Computesets need it on a site without Slurm.');
  list('users', content.users, (one) => one.username, (one) => [
    ['', one.username], ['soft', one.name], ['soft', one.email], ['soft', one.projects && `projects ${one.projects}`],
    ['', one.is_operator ? 'operator' : ''], ['warn', one.is_active ? '' : 'disabled'],
  ], 'There are none; nucleus user add adds one.');
  list('audit', content.audit.reverse(), (one) => one.seq, (one) => [
    ['soft', '', one.at], ['', one.actor || 'nobody'], ['', one.action], ['', one.target],
    [one.outcome === 'accepted' ? '' : 'bad', one.outcome], ['soft', one.source_ip ?? ''],
  ], 'It is empty.');
}

async function readClusters() {
  const found = [];
  for (let next = `${path('cluster')}?limit=100`; next !== null && found.length < 1000;) {
    const answer = await ask('GET', next);
    found.push(...answer.content);
    next = answer.next;
  }
  const stale = found.filter((one) => one.stale).length;
  put(byId('stale-title'), `Clusters: ${found.length}${found.length >= 1000 ? ' and more' : ''}, ${stale} stale`);
  list('overview', found, (one) => one.name, (one) => {
    const nodes = nodesOf(one);
    return [
      ['', one.name], ['soft', one.project ? `project ${one.project}` : 'of nobody'],
      ['', `${nodes.filter((node) => node.power === 'on').length} of ${nodes.length} on`], ['soft', disksText(one)],
      [one.stale ? 'warn' : 'soft', `${one.stale ? 'stale: ' : ''}${one.observed_at ? 'seen' : 'never seen'}`, one.observed_at],
    ];
  }, 'The poller has found none.');
}

async function readFailed() {
  const { content } = await ask('GET', `${path('operation')}?state=failed&limit=20`);
  list('failed', content, (one) => one.id, operationTexts, 'None failed.');
}

const readStateSoon = soon(readState, 1000);
const readClustersSoon = soon(readClusters, 1000);
const readFailedSoon = soon(readFailed, 1000);

let timer = null;

start(async (user, rights) => {
  byId('not-yours').hidden = rights.is_operator;
  byId('content').hidden = !rights.is_operator;
  if (!rights.is_operator) return;
  await readState();
  follow(TYPES, (type) => {
    readStateSoon();
    if (type !== 'operation.state') readClustersSoon();
    if (type === 'operation.state' || type === 'all') readFailedSoon();
  });
  timer ??= setInterval(readStateSoon, 10_000) && setInterval(readClustersSoon, 60_000);
});
