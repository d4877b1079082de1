// The page of computesets: the life of each as a line, and what allocations were charged and have left.

import { element, fillList, fillTexts, follow, say, soon, start, time } from './page.js';
import { ask, path } from './requests.js';
import { durationText, walltimeText } from './durations.js';
import { line } from './lines.js';
import { question } from './question.js';

const byId = (id) => document.getElementById(id);
const LIVING = ['created', 'submitted', 'running', 'ending'];
const MINUTE = 60_000;
const AGAIN = 5000; // no event says that it is known why a set waits
let rights = [];
let again = null;

// The parts of its life in minutes, and the same in words.
function lifeOf(one, now = Date.now()) {
  const begin = one.start_time ? one.start_time * 1000 : null;
  const queued = ((begin ?? now) - new Date(one.created)) / MINUTE;
  if (begin === null) {
    const parts = [['queued', queued], ['remaining', one.walltime_mins], ['ending', one.state === 'ending' ? one.walltime_mins / 10 : 0]];
    const why = [one.waiting, one.place && `place ${one.place} in the queue`, one.estimated_start && `starts about ${time(one.estimated_start)}`].filter(Boolean);
    return { parts, text: [`queued for ${durationText(queued)}`, ...why, `then ${walltimeText(one.walltime_mins)}`].join(', ') };
  }
  const ran = (now - begin) / MINUTE;
  const endsAt = one.walltime_end ? new Date(one.walltime_end).getTime() : begin + one.walltime_mins * MINUTE; // the site may extend it
  const left = Math.max(0, (endsAt - now) / MINUTE);
  const isEnding = one.state === 'ending';
  const parts = [['queued', queued], ['ran', ran], isEnding ? ['ending', one.walltime_mins / 10] : ['remaining', left]];
  const end = isEnding ? 'ending: its disks are written back'
    : `${durationText(left)} of ${walltimeText(one.walltime_mins)} remain, until ${time(endsAt)}`;
  return { parts, text: `queued for ${durationText(queued)}, running for ${durationText(ran)}, ${end}` };
}

// The line of a row is drawn anew where it differs only: a screen reader stays where it is.
function draw(row, parts, text) {
  const made = line(parts, text);
  const before = row.querySelector('svg');
  if (!before) row.append(made);
  else if (!before.isEqualNode(made)) before.replaceWith(made);
}

function buttons(one) {
  const end = (how, action, text) => {
    const title = action.replace('End', `End set ${one.id}`);
    const act = async () => {
      await ask('PUT', path('computeset', one.id, how));
      say(`Set ${one.id} will end.`);
      readSoon();
    };
    const onclick = () => question({ title: `${title}?`, text, action, isDestructive: true, act });
    return element('button', { type: 'button', class: 'destructive', onclick, hidden: !rights.includes('computeset'), 'aria-label': title }, action);
  };
  return [
    end('shutdown', 'End', 'Its nodes are shut down.'),
    end('poweroff', 'End at once', 'Its nodes are powered off. What their systems have not written to disk is lost.'),
  ];
}

async function readSets() {
  const { content } = await ask('GET', `${path('computeset')}?${LIVING.map((one) => `state=${one}`).join('&')}`);
  fillList(byId('sets'), content, (one) => one.id, (row, one, isNew) => {
    if (isNew) row.append(...buttons(one));
    const life = lifeOf(one);
    fillTexts(row, [
      ['', `Set ${one.id} of ${one.cluster}`], [one.degraded ? 'warn' : '', one.degraded ? `${one.state}, some nodes failed` : one.state],
      ['soft', one.state === 'running' ? `${one.nodes_ready} of ${one.nodes_total} nodes on` : `${one.nodes_total} nodes`],
      ['soft', `started by ${one.requested_by}`], ['soft', one.account && `charged to ${one.account}${one.charged_so_far_seconds === null ? '' : `: ${hours(one.charged_so_far_seconds / 60)} node hours so far`}`], ['soft', life.text],
    ]);
    draw(row, life.parts, life.text);
  }, 'None. Start nodes of a cluster, and their set is here.');
  clearTimeout(again);
  if (content.some((one) => !one.start_time && !one.waiting)) again = setTimeout(readSoon, AGAIN);
}

const hours = (minutes) => (minutes / 60).toLocaleString([], { maximumFractionDigits: 1 });

async function readAllocations() {
  const { content } = await ask('GET', path('project'));
  const all = content.flatMap((project) => project.allocations.map((one) => ({ ...one, project: project.name })));
  fillList(byId('allocations'), all, (one) => `${one.project}/${one.name}`, (row, one) => {
    const left = one.left_minutes;
    const texts = [`${hours(one.charged_minutes)} h charged`, `${hours(one.reserved_minutes)} h reserved by sets that have not ended`,
      left === null ? 'no limit' : `${hours(left)} h left of ${one.limited_by ? `the limit of ${one.limited_by}` : hours(one.limit_minutes)}`];
    fillTexts(row, [['', one.name], ['soft', `project ${one.project}`], ...texts.map((text) => ['', text])]);
    draw(row, [['ran', one.charged_minutes], ['queued', one.reserved_minutes], ['remaining', left ?? 0]], `${one.name}: ${texts.join(', ')}`);
  }, 'Your clusters have none. Ask your site for one.');
}

const readSoon = soon(async () => {
  await readSets();
  await readAllocations();
});
let timer = null;

start((user, { scopes }) => {
  rights = scopes;
  follow(['set.state', 'set.ready'], readSoon);
  timer ??= setInterval(readSoon, MINUTE);
});
