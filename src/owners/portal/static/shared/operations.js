// Operations in words, on every page: what happened to what, by whom.

import { time } from './page.js';

// Kind of an operation → what is done to its target.
const DONE = {
  poweron: 'switched on', poweroff: 'switched off', shutdown: 'shut down', reset: 'reset', reboot: 'asked to reboot',
  start_member: 'switched on', shutdown_member: 'asked to shut down', poweroff_member: 'switched off',
  start_set: 'started', end_set: 'ended', extend_set: 'extended', reset_set: 'reset', reboot_set: 'asked to reboot',
  destroy: 'removed', add_image: 'added', remove_image: 'deleted', rename: 'renamed',
};
const PARTLY = 'host'; // the code of the error of a set that runs without some of its nodes
const SEVERAL = 3; // more names than these are counted

export const isLiving = (one) => ['queued', 'running'].includes(one?.state);

// What an operation is about, without its node: those that differ in the node alone are one line.
function setOrCluster(one) {
  if (one.kind.endsWith('_image')) return one.image ?? one.result?.image ?? 'an image';
  const set = one.computeset && (one.kind.endsWith('_set') || one.kind.endsWith('_member')) ? `set ${one.computeset}` : '';
  return [set, one.cluster].filter(Boolean).join(' of ');
}

export function targetText(operations) {
  const [first] = operations;
  const former = first.kind === 'rename' ? Object.keys(first.result.names) : null;
  const names = former ?? [...new Set(operations.map((one) => one.node).filter(Boolean))].reverse();
  const nodes = names.length > SEVERAL ? `${names.length} nodes` : names.join(', ');
  const drive = first.kind === 'attach_iso' ? (names.length > 1 ? 'CD drives' : 'CD drive') : '';
  const whole = setOrCluster(first);
  return [drive, nodes, whole === nodes ? '' : whole].filter(Boolean).join(' of '); // a frontend has its cluster's name
}

// What is being done or was done, without its target: `will be switched off`.
export function doneText(one) {
  const names = one.kind === 'rename' ? Object.values(one.result.names) : [];
  const renamed = names.length && names.length <= SEVERAL ? ` to ${names.join(', ')}` : '';
  const done = one.kind === 'attach_iso' ? (one.image ? `changed to ${one.image}` : 'emptied') : `${DONE[one.kind] ?? one.kind.replaceAll('_', ' ')}${renamed}`;
  return { queued: `will be ${done}`, running: `is being ${done}`, succeeded: done, failed: one.kind === 'start_set' && one.error?.code === PARTLY ? `${done} in part` : `not ${done}`, cancelled: `not ${done}: cancelled` }[one.state];
}

export const byText = (one) => (one.actor === 'nucleus' ? '' : ` by ${one.actor}`);

// `n0 of vc1 switched off by ann`; before its end, and without success, what was asked for.
export function operationText(operations) {
  const [one] = operations;
  const text = `${targetText(operations)} ${doneText(one)}`;
  const by = byText(one);
  return one.state === 'succeeded' ? `${text}${by}` : `${text}${by && `, asked for${by}`}`;
}

const stepsText = (one) => (one.state === 'running' && one.progress.length ? `${one.progress.length} step${one.progress.length === 1 ? '' : 's'} done` : '');

// The texts beside a node that the operation, or that of its set, is about; `before`: the one for which it waits.
export function progressTexts(one, before) {
  const whole = one.kind === 'attach_iso' ? 'CD drive ' : one.node ? '' : one.computeset ? `set ${one.computeset} ` : 'its cluster ';
  const isFailed = one.state === 'failed';
  const reason = isFailed && one.error?.detail ? `: ${one.error.detail}` : '';
  return [[isFailed ? 'bad' : 'soft', `${whole}${doneText(one)}${reason}`], ['soft', before ? `it ${doneText(before)} first` : stepsText(one)]];
}

// The texts of a row, of one operation or of several that differ in their node alone; the newest first.
export function operationTexts(...operations) {
  const [one] = operations;
  const reasons = [...new Set(operations.map((each) => each.error?.detail).filter(Boolean))];
  return [
    ['', operationText(operations)], [one.state === 'failed' ? 'bad' : '', one.state],
    ['soft', stepsText(one)],
    [one.state === 'failed' ? 'bad' : 'soft', reasons.slice(0, SEVERAL).join('; ')], ['soft', time(one.created)],
  ];
}

// Neighbours in the list that say the same about several nodes, as lists.
export function foldOperations(operations) {
  const keyOf = (one) => [one.kind, one.actor, one.state, one.cluster, one.computeset, one.image, one.node === null ? one.id : ''].join('\n');
  const groups = [];
  for (const one of operations) {
    const last = groups.at(-1);
    if (last && one.kind !== 'rename' && keyOf(last[0]) === keyOf(one) && Math.abs(new Date(last[0].created) - new Date(one.created)) < 60_000) last.push(one);
    else groups.push([one]);
  }
  return groups;
}
