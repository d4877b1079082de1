// The page of computesets: the life of each as a line, what allocations were charged and have left, and the charges of a month.

import { byId, element, fillList, fillTexts, follow, put, say, soon, some, start } from './shared/page.js';
import { ask, path } from './shared/requests.js';
import { hoursText as hours, nodeHours } from './shared/durations.js';
import { endsSoon, endsText, extendQuestion, lifeOf, LIVING, mayExtend } from './shared/sets.js';
import { offerLaunch } from './launchers.js';
import { line } from './lines.js';
import { question } from './shared/question.js';

const MINUTE = 60_000;
const AGAIN = 5000; // no event says that it is known why a set waits
let rights = [];
let again = null;
let month = 0; // whose charges are shown: 0 is this one, -1 the last

// The line of a row is drawn anew where it differs only: a screen reader stays where it is.
function draw(row, parts, text) {
  const before = row.querySelector('svg');
  const made = parts && line(parts, text);
  if (!made) before?.remove();
  else if (!before) row.append(made);
  else if (!before.isEqualNode(made)) before.replaceWith(made);
}

const nodesText = (one) => some(one.computes.map((node) => node.name));

function buttons(one) {
  const end = (how, action, text) => {
    const title = action.replace('End', `End set ${one.id} of ${one.cluster}`);
    const act = async () => {
      await ask('PUT', path('computeset', one.id, how));
      say(`Set ${one.id} will end.`);
      readSoon();
    };
    const onclick = () => question({ title: `${title}?`, text, action, isDestructive: true, act });
    return element('button', { type: 'button', class: 'destructive', onclick, hidden: !rights.includes('computeset'), 'aria-label': title }, action);
  };
  const extend = element('button', { type: 'button', class: 'extend', hidden: !rights.includes('computeset'), 'aria-label': `Extend set ${one.id} of ${one.cluster}` }, 'Extend');
  return [
    extend, end('shutdown', 'End', `${nodesText(one)}: shut down, and powered off when that takes too long.`),
    end('poweroff', 'End at once', `${nodesText(one)}: powered off at once. What their systems have not written to disk is lost.`),
  ];
}

async function readSets() {
  const { content } = await ask('GET', `${path('computeset')}?${LIVING.map((one) => `state=${one}`).join('&')}`);
  fillList(byId('sets'), content, (one) => one.id, (row, one, isNew) => {
    if (isNew) row.append(element('div', { class: 'end' }, element('a', { href: `cluster?${new URLSearchParams({ name: one.cluster })}`, 'aria-label': `Cluster of set ${one.id}` }, one.cluster), ...buttons(one)));
    row.querySelector('button:not(.extend)').hidden ||= one.state === 'ending'; // it is asked for already
    const extend = row.querySelector('.extend');
    extend.hidden ||= !mayExtend(one);
    extend.onclick = () => extendQuestion(one, readSoon);
    const life = lifeOf(one);
    fillTexts(row, [
      ['', `Set ${one.id} of ${one.cluster}`], [one.degraded ? 'warn' : '', one.degraded ? `${one.state}, some nodes failed: the page of ${one.cluster} says why` : one.state],
      ['soft', one.state === 'running' ? `${one.nodes_ready} of ${one.nodes_total} nodes on` : `${one.nodes_total} node${one.nodes_total === 1 ? '' : 's'}`],
      ['soft', nodesText(one)], ['soft', `started by ${one.requested_by}`], ['soft', one.account && `charged to ${one.account}${one.charged_so_far_seconds === null ? '' : `: ${nodeHours(one.charged_so_far_seconds / 60)} so far`}`], ['soft', `up to ${nodeHours(one.nodes_total * one.walltime_mins)}`], [endsSoon(one) ? 'warn' : 'soft', life.text],
    ]);
    draw(row, life.parts, life.text);
  }, 'None. Start nodes of a cluster, and their set is here.');
  clearTimeout(again);
  if (content.some((one) => !one.start_time && !one.waiting)) again = setTimeout(readSoon, AGAIN);
}

async function readAllocations() {
  const { content } = await ask('GET', path('project'));
  const all = content.flatMap((project) => project.allocations.map((one) => ({ ...one, project: project.name })));
  fillList(byId('allocations'), all, (one) => `${one.project}/${one.name}`, (row, one) => {
    const left = one.left_minutes;
    const texts = [`${hours(one.charged_minutes)} h charged`, `${hours(one.reserved_minutes)} h reserved by sets that have not ended`,
      left === null ? 'no limit' : `${hours(left)} h left of ${one.limited_by ? `the limit of ${one.limited_by}` : hours(one.limit_minutes)}`];
    fillTexts(row, [['', one.name], ['soft', `project ${one.project}`], ...texts.map((text) => ['', text])]);
    if (left !== null) draw(row, [['ran', one.charged_minutes], ['queued', one.reserved_minutes], ['remaining', left]], `${one.name}: ${texts.join(', ')}`);
  }, 'Your clusters have none. Ask your site for one.');
}

async function readCharges() {
  const now = new Date();
  const [begin, end] = [month, month + 1].map((each) => new Date(now.getFullYear(), now.getMonth() + each));
  const { content } = await ask('GET', `${path('usage')}?${new URLSearchParams({ from: begin.toISOString(), to: end.toISOString() })}`);
  put(byId('month'), new Date(Date.UTC(begin.getFullYear(), begin.getMonth())).toISOString().slice(0, 7));
  byId('later').disabled = month === 0;
  fillList(byId('charges'), content, (one) => [one.allocation, one.project, one.user, one.cluster].join('/'), (row, one) => fillTexts(row, [
    ['', one.allocation], ['', nodeHours(one.charged_seconds / 60)], ['soft', `${one.computesets} set${one.computesets === 1 ? '' : 's'} of ${one.cluster}`], ['soft', `started by ${one.user}`], ['soft', one.project && `project ${one.project}`],
  ]), 'No set ended in it.');
}

const readSoon = soon(async () => {
  await readSets();
  await readAllocations();
  await readCharges();
});
for (const [id, step] of [['earlier', -1], ['later', 1]]) {
  byId(id).addEventListener('click', () => {
    month += step;
    readSoon();
  });
}
let timer = null;

start((user, { scopes }) => {
  rights = scopes;
  follow(['set.state', 'set.ready', 'set.ends'], (type, data) => {
    const { target, cluster, new: state } = data;
    if (type === 'set.ends') say(endsText(data), 'Warning');
    else if (state === 'failed') say(`set ${target} of ${cluster}`, 'Failed');
    else if (['completed', 'cancelled'].includes(state)) say(`Set ${target} of ${cluster} has ended: it is ${state}.`);
    readSoon();
  });
  if (timer === null && rights.includes('computeset')) offerLaunch(readSoon);
  timer ??= setInterval(readSoon, MINUTE);
});
