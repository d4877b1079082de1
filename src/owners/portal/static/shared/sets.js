// A computeset that has not ended: its life in words and parts, and the questions that extend and merge it; and one that would be started.

import { ago, element, put, say, some, soon, time } from './page.js';
import { ask, path, Refusal, service } from './requests.js';
import { durationText, hoursText, minutesOf, nodeHours, requested, walltimeMinutes, walltimeText } from './durations.js';
import { question } from './question.js';

export const LIVING = ['created', 'submitted', 'running', 'ending'];
const BY_SCHEDULER = "by the site's scheduler; report it to the site's operators";
// Why one ended, by the service's word; as in comet.
const REASONS = {
  walltime: 'its walltime is over', user: 'ended by its owners or an operator', start_failed: 'no node started', node: 'a host failed',
  removed: 'its nodes were removed by the site', operator: 'ended by the site', preempted: 'its hosts were given to another job',
  limit: 'a limit of the allocation was reached', placement: BY_SCHEDULER, requeued: BY_SCHEDULER, lost: BY_SCHEDULER, timeout: BY_SCHEDULER,
};
/** @param {Rest.Computeset} one */
export const reasonText = (one) => (one.end_reason === 'user' && one.ended_by ? `ended by ${one.ended_by}` : REASONS[one.end_reason] ?? one.end_reason);

const MINUTE = 60_000;
const TYPING = 300; // milliseconds without a key before the service is asked

/** @param {Rest.Computeset} one */
const beginOf = (one) => (one.start_time ? one.start_time * 1000 : null);

// When it ends, in milliseconds; the site may have extended it.
/** @param {Rest.Computeset} one */
export const endOf = (one) => (one.walltime_end ? new Date(one.walltime_end).getTime() : beginOf(one) && beginOf(one) + one.walltime_mins * MINUTE);

const HOUR = 3_600_000; // so long before its end its owners are warned

/** @param {Rest.Computeset} one */
export const endsSoon = (one) => one.state === 'running' && endOf(one) - service.now() < HOUR;

// What an event of a set says that ends soon.
export const endsText = ({ target, cluster, new: end }) => `Nodes of set ${target} of ${cluster} end ${ago(end)}.`;

// What is ahead of it: why it waits, or what remains.
/** @param {Rest.Computeset} one */
export function aheadText(one) {
  if (one.state === 'ending') return 'ending: its disks are written back';
  if (beginOf(one) === null) {
    return [one.waiting, one.place && `place ${one.place} in the queue`, one.estimated_start && `starts ${ago(one.estimated_start)}`, `then runs for ${walltimeText(one.walltime_mins)}`].filter(Boolean).join(', ');
  }
  if (endsSoon(one)) return `ends ${ago(endOf(one))}`;
  return `${durationText((endOf(one) - service.now()) / MINUTE)} of ${walltimeText(one.walltime_mins)} remain`;
}

// The parts of the life of one that has begun, in minutes, and all of it in words.
/** @param {Rest.Computeset} one @returns {{parts: [string, number][] | null, text: string}} */
export function lifeOf(one) {
  const [begin, now] = [beginOf(one), service.now()];
  const queued = ((begin ?? now) - Date.parse(one.created)) / MINUTE;
  const ran = begin === null ? 0 : (now - begin) / MINUTE;
  const text = [`queued for ${durationText(queued)}`, begin !== null && `running for ${durationText(ran)}`, aheadText(one)].filter(Boolean).join(', ');
  if (begin === null) return { parts: null, text };
  return { parts: [['queued', queued], ['ran', ran], one.state === 'ending' ? ['ending', one.walltime_mins / 10] : ['remaining', Math.max(0, (endOf(one) - now) / MINUTE)]], text };
}

/** @param {Rest.Computeset} one */
export const nodesText = (one) => some(one.computes.map((node) => node.name));

/** @param {Rest.Computeset} one */
export const mayExtend = (one) => ['submitted', 'running'].includes(one.state);

// Asks how much longer it shall run; `extended(operation)` is called for what the service accepted.
/** @param {Rest.Computeset} one @param {(operation: Rest.Operation) => any} extended */
export function extendQuestion(one, extended) {
  const about = element('p', { class: 'soft', role: 'status' });
  const more = element('input', { value: '2h', maxlength: 8, autocomplete: 'off', oninput: () => {
    const minutes = minutesOf(more.value);
    const until = minutes !== null && endOf(one) ? `, until ${time(endOf(one) + minutes * MINUTE)}` : '';
    put(about, minutes === null ? '' : `It runs for ${durationText(one.walltime_mins + minutes)} in all${until}. Costs up to ${nodeHours(one.nodes_total * minutes)} more.`);
  } });
  more.dispatchEvent(new Event('input'));
  question({
    title: `Extend set ${one.id} of ${one.cluster}`, text: about, action: 'Extend', fields: [{ name: 'walltime_mins', label: 'Longer by, as 90m, 6h or 2d', input: more }],
    act: async (values) => {
      const minutes = one.walltime_mins + walltimeMinutes(values.walltime_mins, 'walltime_mins');
      const { content } = await ask('PATCH', path('computeset', one.id), { walltime_mins: requested(minutes) });
      say(`Set ${one.id} will run for ${durationText(minutes)} in all.`);
      extended(content);
    },
  });
}

// How one is ended: the text of the button, and what it does to the nodes.
/** @type {Record<string, [string, string]>} */
export const ENDS = {
  shutdown: ['End', 'shut down, and powered off when that takes too long.'],
  poweroff: ['End at once', 'powered off at once. What their systems have not written to disk is lost.'],
};

// The title of its question, and the label of the button that puts it.
export const endTitle = ({ id, cluster }, how) => ENDS[how][0].replace('End', `End set ${id} of ${cluster}`);

// Asks whether it shall end, with its `nodes` in words; `accepted()` is called when it will.
/** @param {{id: number, cluster: string}} one @param {string} how @param {string} nodes @param {() => any} accepted */
export function endQuestion(one, how, nodes, accepted) {
  const [action, consequence] = ENDS[how];
  question({ title: `${endTitle(one, how)}?`, text: `${nodes}: ${consequence}`, action, isDestructive: true, act: async () => {
    await ask('PUT', path('computeset', one.id, how));
    say(`Set ${one.id} will end.`);
    accepted();
  } });
}

// Those that can be merged with it.
/** @param {Rest.Computeset} one @param {Rest.Computeset[]} sets */
export const partnersOf = (one, sets) => sets.filter((other) => other.id !== one.id && other.cluster === one.cluster && other.account === one.account && [one, other].every(({ state }) => state === 'running'));

// Asks which of its partners shall be a part of it; `merged()` is called when one is.
/** @param {Rest.Computeset} one @param {Rest.Computeset[]} partners @param {() => any} merged */
export function mergeQuestion(one, partners, merged) {
  const about = element('p', { role: 'status' });
  const select = element('select', { oninput: () => {
    const other = partners.find(({ id }) => String(id) === select.value);
    put(about, `Set ${one.id} then has the ${one.nodes_total + other.nodes_total} nodes of both; Extend and End act on all of them. Without an extension, the nodes of the set that ends first stop ${time(Math.min(endOf(one), endOf(other)))}; the others run until their own end. You cannot undo this.`);
  } }, ...partners.map((other) => element('option', { value: other.id }, `set ${other.id}: ${nodesText(other)}`)));
  select.dispatchEvent(new Event('input'));
  question({
    title: `Merge a set into set ${one.id} of ${one.cluster}`, text: about, action: 'Merge', isDestructive: true, fields: [{ name: 'computeset', label: 'Set', input: select }],
    act: async (values) => {
      await ask('POST', path('computeset', one.id, 'merge'), { computeset: Number(values.computeset) });
      say(`Set ${values.computeset} is a part of set ${one.id} now.`);
      merged();
    },
  });
}

const costText = (minutes) => (minutes ? `Costs up to ${nodeHours(minutes)}.` : '');

function estimateText(found) {
  const { node_minutes: cost, left_minutes: left, estimated_start: begin, waiting } = found;
  const when = Date.parse(begin) - service.now() < MINUTE ? 'at once' : `${ago(begin)}, at ${time(begin)}`;
  const start = begin ? `It would start ${when}` : waiting ? 'It would wait' : 'When it would start is not known';
  return [costText(cost), left !== null && `${found.allocation} has ${hoursText(left)} left.`, `${start}${waiting ? `: ${waiting}` : ''}.`].filter(Boolean).join(' ');
}

// Has the place say what a computeset would cost, what is left, and when it would start. `bodyOf()`: the request that would start
// it. `changed()` is called for each change of it, and `sent()` when it is sent: the answer to that is not repeated here, and an
// estimate would be refused, since the nodes are in the new set. One question at a time; the answer to a former one is dropped.
// A refusal is said there, too, and keeps nobody from starting.
export function estimates(place, bodyOf) {
  const costOf = ({ computes, count, walltime_mins: minutes }) => costText((count ?? computes.length) * minutes);
  let isSent = false;
  const isOpen = () => place.isConnected && !isSent;
  const show = (body, text) => isOpen() && JSON.stringify(body) === JSON.stringify(bodyOf()) && put(place, text);
  let timer = null;
  let pause = 0; // seconds; doubled at each refusal
  const askLater = (milliseconds) => {
    clearTimeout(timer);
    timer = setTimeout(askNow, milliseconds);
  };
  const askNow = soon(async () => {
    const body = bodyOf();
    if (!isOpen() || !costOf(body)) return;
    try {
      show(body, estimateText((await ask('POST', path('computeset', 'estimate'), { ...body, walltime_mins: requested(body.walltime_mins) })).content));
      pause = 0;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      show(body, `${costOf(body)} ${error.isPassing ? 'Not estimated' : 'It would be refused'}: ${error.message}`);
      pause = Math.min(pause * 2 || 5, 60);
      if (error.isPassing) askLater(Math.max(error.seconds ?? 0, pause) * 1000);
    }
  }, 0);
  const showCost = () => put(place, costOf(bodyOf()));
  const changed = () => {
    isSent = false;
    showCost();
    askLater(TYPING);
  };
  const sent = () => {
    isSent = true;
    showCost();
  };
  return { changed, sent };
}
