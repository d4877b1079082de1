// A computeset that has not ended: its life in words and parts, and the question that extends it.

import { ago, element, put, say, time } from './page.js';
import { ask, path, service } from './requests.js';
import { durationText, minutesOf, nodeHours, walltimeMinutes, walltimeText } from './durations.js';
import { question } from './question.js';

export const LIVING = ['created', 'submitted', 'running', 'ending'];
const MINUTE = 60_000;

const beginOf = (one) => (one.start_time ? one.start_time * 1000 : null);

// When it ends, in milliseconds; the site may have extended it.
export const endOf = (one) => (one.walltime_end ? new Date(one.walltime_end).getTime() : beginOf(one) && beginOf(one) + one.walltime_mins * MINUTE);

const HOUR = 3_600_000; // so long before its end its owners are warned

export const endsSoon = (one) => one.state === 'running' && endOf(one) - service.now() < HOUR;

// What an event of a set says that ends soon.
export const endsText = ({ target, cluster, new: end }) => `Set ${target} of ${cluster} ends ${ago(end)}.`;

// What is ahead of it: why it waits, or what remains.
export function aheadText(one) {
  if (one.state === 'ending') return 'ending: its disks are written back';
  if (beginOf(one) === null) {
    return [one.waiting, one.place && `place ${one.place} in the queue`, one.estimated_start && `starts ${ago(one.estimated_start)}`, `then runs for ${walltimeText(one.walltime_mins)}`].filter(Boolean).join(', ');
  }
  if (endsSoon(one)) return `ends ${ago(endOf(one))}`;
  return `${durationText((endOf(one) - service.now()) / MINUTE)} of ${walltimeText(one.walltime_mins)} remain`;
}

// The parts of the life of one that has begun, in minutes, and all of it in words.
export function lifeOf(one) {
  const [begin, now] = [beginOf(one), service.now()];
  const queued = ((begin ?? now) - new Date(one.created)) / MINUTE;
  const ran = begin === null ? 0 : (now - begin) / MINUTE;
  const text = [`queued for ${durationText(queued)}`, begin !== null && `running for ${durationText(ran)}`, aheadText(one)].filter(Boolean).join(', ');
  if (begin === null) return { parts: null, text };
  return { parts: [['queued', queued], ['ran', ran], one.state === 'ending' ? ['ending', one.walltime_mins / 10] : ['remaining', Math.max(0, (endOf(one) - now) / MINUTE)]], text };
}

export const mayExtend = (one) => ['submitted', 'running'].includes(one.state);

// Asks how much longer it shall run; `extended(operation)` is called for what the service accepted.
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
      const { content } = await ask('PATCH', path('computeset', one.id), { walltime_mins: minutes });
      say(`Set ${one.id} will run for ${durationText(minutes)} in all.`);
      extended(content);
    },
  });
}
