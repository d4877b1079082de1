// The page of computesets: the life of each as a line, what allocations were charged and have left, and the charges of a month.

import { byId, element, fillList, fillTexts, follow, put, say, soon, start } from './shared/page.js';
import { ask, base, path } from './shared/requests.js';
import { durationText, hoursText as hours, nodeHours } from './shared/durations.js';
import {
  endQuestion, ENDS, endsSoon, endsText, endTitle, extendQuestion, lifeOf, LIVING, mayExtend, mergeQuestion, nodesText, partnersOf, reasonText,
} from './shared/sets.js';
import { offerLaunch } from './launchers.js';
import { bars, line } from './lines.js';

const MINUTE = 60_000;
const DAY = 86_400_000;
const AGAIN = 5000; // no event says that it is known why a set waits
/** @type {string[]} */
let rights = [];
/** @type {Rest.Computeset[]} */
let sets = [];
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

// Those of a row: a set may have been extended, or merged with another, since they were made.
function buttons({ id, cluster }) {
  const present = () => sets.find((one) => one.id === id);
  const button = (name, text, label, act) => element('button', { type: 'button', 'data-action': name, class: name in ENDS && 'destructive', 'aria-label': label, onclick: () => act(present()) }, text);
  const end = (how) => button(how, ENDS[how][0], endTitle({ id, cluster }, how), (one) => endQuestion(one, how, nodesText(one), readSoon));
  return [
    button('extend', 'Extend', `Extend set ${id} of ${cluster}`, (one) => extendQuestion(one, readSoon)),
    button('merge', 'Merge', `Merge another set into set ${id} of ${cluster}`, (one) => mergeQuestion(one, partnersOf(one, sets), readSoon)),
    end('shutdown'), end('poweroff'),
  ];
}

async function readSets() {
  sets = (await ask('GET', `${path('computeset')}?${LIVING.map((one) => `state=${one}`).join('&')}`)).content;
  fillList(byId('sets'), sets, (one) => one.id, (row, one, isNew) => {
    if (isNew) row.append(element('div', { class: 'end' }, element('a', { href: `cluster?${new URLSearchParams({ name: one.cluster })}`, 'aria-label': `Cluster of set ${one.id}` }, one.cluster), ...buttons(one)));
    const possible = { extend: mayExtend(one), merge: partnersOf(one, sets).length, shutdown: one.state !== 'ending', poweroff: true }; // one that ends may be ended at once
    for (const [name, isPossible] of Object.entries(possible)) /** @type {HTMLElement} */ (row.querySelector(`[data-action=${name}]`)).hidden = !rights.includes('computeset') || !isPossible;
    const life = lifeOf(one);
    fillTexts(row, [
      ['', `Set ${one.id}${one.merged.length ? ` (with ${one.merged.join(', ')})` : ''} of ${one.cluster}`], [one.degraded ? 'warn' : '', one.degraded ? `${one.state}, some nodes failed: the page of ${one.cluster} says why` : one.state],
      ['soft', one.state === 'running' ? `${one.nodes_ready} of ${one.nodes_total} nodes on` : `${one.nodes_total} node${one.nodes_total === 1 ? '' : 's'}`],
      ['soft', nodesText(one)], ['soft', `started by ${one.requested_by}`], ['soft', one.account && `charged to ${one.account}${one.charged_so_far_seconds === null ? '' : `: ${nodeHours(one.charged_so_far_seconds / 60)} so far`}`], ['soft', `up to ${nodeHours(one.nodes_total * one.walltime_mins)}`], [endsSoon(one) ? 'warn' : 'soft', life.text],
    ]);
    draw(row, life.parts, life.text);
  }, 'None. Start nodes of a cluster, and their set is here.');
  clearTimeout(again);
  if (sets.some((one) => !one.start_time && !one.waiting)) again = setTimeout(readSoon, AGAIN);
}

async function readAllocations() {
  const { content } = await ask('GET', path('project'));
  const all = content.flatMap((project) => project.allocations.map((one) => ({ ...one, project: project.name })));
  fillList(byId('allocations'), all, (one) => `${one.project}/${one.name}`, (row, one) => {
    const left = one.left_minutes;
    const texts = [`${hours(one.charged_minutes)} h charged`, `${hours(one.reserved_minutes)} h reserved by sets that have not ended`,
      left === null ? 'no limit' : `${hours(left)} h left of ${one.limited_by ? `the limit of ${one.limited_by}` : hours(one.limit_minutes)}`];
    fillTexts(row, [['', one.name], ['soft', `project ${one.project}`], ...texts.map((text) => /** @type {[string, string]} */ (['', text]))]);
    if (left !== null) draw(row, [['ran', one.charged_minutes], ['queued', one.reserved_minutes], ['remaining', left]], `${one.name}: ${texts.join(', ')}`);
  }, 'Your clusters have none. Ask your site for one.');
}

const keyOf = (one) => [one.allocation, one.project, one.user, one.cluster].join('/');

// Of a month, in UTC as the days of the service.
async function readCharges() {
  const now = new Date();
  const [begin, end] = [month, month + 1].map((each) => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + each)));
  const query = new URLSearchParams({ from: begin.toISOString(), to: end.toISOString(), by: 'day' });
  const { content } = await ask('GET', `${path('usage')}?${query}`);
  const name = begin.toISOString().slice(0, 7);
  put(byId('month'), name);
  byId('later').disabled = month === 0;
  byId('csv').href = new URL(`${path('usage')}?${query}&format=csv`, base).href;
  byId('csv').download = `usage-${name}.csv`;
  byId('csv').hidden = byId('days').hidden = !content.length;
  drawDays(content, name, (end.getTime() - begin.getTime()) / DAY);
  const whole = new Map();
  for (const one of content) {
    const known = whole.get(keyOf(one)) ?? { computesets: 0, charged_seconds: 0 };
    whole.set(keyOf(one), { ...one, computesets: known.computesets + one.computesets, charged_seconds: known.charged_seconds + one.charged_seconds });
  }
  fillList(byId('charges'), [...whole.values()], keyOf, (row, one) => fillTexts(row, [
    ['', one.allocation], ['', nodeHours(one.charged_seconds / 60)], ['soft', `${one.computesets} set${one.computesets === 1 ? '' : 's'} of ${one.cluster}`], ['soft', `started by ${one.user}`], ['soft', one.project && `project ${one.project}`],
  ]), 'No set ended in it.');
  byId('ended-title').hidden = byId('ended').hidden = !content.length;
  if (content.length) await readEnded(begin, end);
}

// Each set that ended in this time, the newest first: who started it, how long it ran, why it ended, and its charge.
async function readEnded(begin, end) {
  const query = new URLSearchParams({ from: begin.toISOString(), to: end.toISOString(), fields: 'id,state,cluster,account,start_time,ended_at,end_reason,ended_by,requested_by,charged_seconds,nodes_total' });
  const { content } = await ask('GET', `${path('computeset')}?${query}`);
  fillList(byId('ended'), content.reverse(), (one) => one.id, (row, one) => {
    const ran = one.start_time ? `ran for ${durationText(Date.parse(one.ended_at) / MINUTE - one.start_time / 60)}` : 'did not start';
    fillTexts(row, [
      ['', `Set ${one.id} of ${one.cluster}`], ['', one.charged_seconds === null ? 'its charge is not known yet' : nodeHours(one.charged_seconds / 60)],
      ['soft', `${one.nodes_total} node${one.nodes_total === 1 ? '' : 's'}`], ['soft', ran], ['soft', `started by ${one.requested_by}`], ['soft', one.account],
      [one.state === 'failed' ? 'bad' : 'soft', [one.state, reasonText(one)].filter(Boolean).join(': ')], ['soft', 'ended', one.ended_at],
    ]);
  }, 'None.');
}

function drawDays(charges, name, count) {
  const entries = Array.from({ length: count }, (_, index) => {
    const day = `${name}-${String(index + 1).padStart(2, '0')}`;
    const seconds = charges.filter((one) => one.day === day).reduce((sum, one) => sum + one.charged_seconds, 0);
    return [`${day}: ${nodeHours(seconds / 60)}`, seconds];
  });
  const charged = entries.filter(([, seconds]) => seconds).map(([text]) => text);
  const [most] = entries.reduce((one, other) => (other[1] > one[1] ? other : one));
  byId('days').replaceChildren(bars(entries, `Charged by day: ${charged.join(', ') || 'nothing'}`), element('figcaption', { class: 'soft' },
    element('span', {}, '1'), element('span', {}, `Most: ${most}`), element('span', {}, String(count))));
}

const readSoon = soon(async () => {
  await readSets();
  await readAllocations();
  await readCharges();
});
for (const [id, step] of /** @type {const} */ ([['earlier', -1], ['later', 1]])) {
  byId(id).addEventListener('click', () => {
    month += step;
    readSoon();
  });
}
let timer = null;

start((user, { scopes }) => {
  rights = scopes;
  follow(['set.state', 'set.ready', 'set.ends', 'operation.state'], (type, data) => { // a merge changes no state of a set
    const { target, cluster, new: state } = data;
    if (type === 'operation.state') return state === 'succeeded' && readSoon();
    if (type === 'set.ends') say(endsText(data), 'Warning');
    else if (state === 'failed') say(`set ${target} of ${cluster}`, 'Failed');
    else if (['completed', 'cancelled'].includes(state)) say(`Set ${target} of ${cluster} has ended: it is ${state}.`);
    readSoon();
  });
  if (timer === null && rights.includes('computeset')) offerLaunch(readSoon);
  timer ??= setInterval(readSoon, MINUTE);
});
