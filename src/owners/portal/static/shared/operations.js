// Operations in words, on every page: what happened to what, by whom.

// Kind of an operation → what is done to its target.
const DONE = {
  poweron: 'switched on', poweroff: 'switched off', shutdown: 'shut down', reset: 'reset', reboot: 'asked to reboot',
  start_member: 'switched on', shutdown_member: 'asked to shut down', poweroff_member: 'switched off',
  start_set: 'started', end_set: 'ended', extend_set: 'extended', merge_set: 'merged', warn_set: 'looked at for a mail about its end', reset_set: 'reset', reboot_set: 'asked to reboot',
  destroy: 'removed', add_image: 'added', remove_image: 'deleted', rename: 'renamed',
  reinstall: 'given a fresh disk', clone: 'given a clone of a disk',
};
// The same as a noun, for what did not succeed, or not yet for all nodes.
const NOUNS = {
  poweron: 'Power-on', poweroff: 'Power-off', shutdown: 'Shutdown', reset: 'Reset', reboot: 'Reboot', start_member: 'Power-on', shutdown_member: 'Shutdown',
  poweroff_member: 'Power-off', start_set: 'Start', end_set: 'End', extend_set: 'Extension', merge_set: 'Merge', warn_set: 'Mail about the end', reset_set: 'Reset', reboot_set: 'Reboot', destroy: 'Removal',
  add_image: 'Upload', remove_image: 'Deletion', rename: 'Renaming', attach_iso: 'Change', reinstall: 'Fresh disk', clone: 'Cloned disk',
};
const PARTLY = 'host'; // the code of the error of a set that runs without some of its nodes
const SEVERAL = 3; // more names than these are counted

/** @param {Rest.Operation} one */
export const isLiving = (one) => ['queued', 'running'].includes(one?.state);

// What an operation is about, without its node: those that differ in the node alone are one line.
/** @param {Rest.Operation} one */
function setOrCluster(one) {
  if (one.kind.endsWith('_image')) return one.image ?? one.result?.image ?? 'an image';
  if (one.kind === 'merge_set') return `sets ${one.result.computesets.join(' and ')} of ${one.cluster}`;
  const set = one.computeset && (one.kind.endsWith('_set') || one.kind.endsWith('_member')) ? `set ${one.computeset}` : '';
  return [set, one.cluster].filter(Boolean).join(' of ');
}

/** @param {Rest.Operation[]} operations */
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
/** @param {Rest.Operation} one */
export function doneText(one) {
  const names = one.kind === 'rename' ? Object.values(one.result.names) : [];
  const renamed = names.length && names.length <= SEVERAL ? ` to ${names.join(', ')}` : '';
  const done = one.kind === 'attach_iso' ? (one.image ? `changed to ${one.image}` : 'emptied') : `${DONE[one.kind] ?? one.kind.replaceAll('_', ' ')}${renamed}`;
  return { queued: `will be ${done}`, running: `is being ${done}`, succeeded: done, failed: isPartial(one) ? `${done} in part` : `not ${done}`, cancelled: `not ${done}: cancelled` }[one.state];
}

/** @param {Rest.Operation} one */
export const byText = (one) => (one.actor === 'nucleus' ? '' : ` by ${one.actor}`);

/** @param {Rest.Operation} one */
const isPartial = (one) => one.kind === 'start_set' && one.error?.code === PARTLY;

// `n0 of vc1 switched off by ann`; without success, or with some of its nodes only, `Power-off of n0 of vc1 (ann)`.
/** @param {Rest.Operation[]} operations */
export function operationText(operations) {
  const [one] = operations;
  const isMixed = operations.some((each) => each.state !== one.state);
  if (isMixed || (['failed', 'cancelled'].includes(one.state) && !isPartial(one))) {
    const noun = NOUNS[one.kind] ?? one.kind.replaceAll('_', ' ');
    return `${noun} of ${targetText(operations)}${one.actor === 'nucleus' ? '' : ` (${one.actor})`}`;
  }
  const text = `${targetText(operations)} ${doneText(one)}`;
  const by = byText(one);
  return one.state === 'succeeded' ? `${text}${by}` : `${text}${by && `, asked for${by}`}`;
}

// `failed`, or `42 succeeded, 22 queued` of a request for several nodes.
/** @param {Rest.Operation[]} operations */
function statesText(operations) {
  const counts = new Map([['succeeded', 0], ['running', 0], ['queued', 0], ['failed', 0], ['cancelled', 0]]);
  for (const one of operations) counts.set(one.state, counts.get(one.state) + 1);
  return counts.get(operations[0].state) === operations.length ? operations[0].state : [...counts].filter(([, count]) => count).map(([state, count]) => `${count} ${state}`).join(', ');
}

/** @param {Rest.Operation} one */
const stepsText = (one) => (one.state === 'running' && one.progress.length ? `${one.progress.length} step${one.progress.length === 1 ? '' : 's'} done` : '');

// The texts beside a node that the operation, or that of its set, is about; `before`: the one for which it waits.
/** @param {Rest.Operation} one @param {Rest.Operation} [before] @returns {[string, string][]} */
export function progressTexts(one, before) {
  const whole = one.kind === 'attach_iso' ? 'CD drive ' : one.node ? '' : one.computeset ? `set ${one.computeset} ` : 'its cluster ';
  const isFailed = one.state === 'failed';
  const reason = isFailed && one.error?.detail ? `: ${one.error.detail}` : '';
  return [[isFailed ? 'bad' : 'soft', `${whole}${doneText(one)}${reason}`], ['soft', before ? `it ${doneText(before)} first` : stepsText(one)]];
}

// The texts of a row, of one operation or of several of one request; the newest first.
/** @param {Rest.Operation[]} operations @returns {[string, string, string?][]} */
export function operationTexts(...operations) {
  const [one] = operations;
  const isFailed = operations.some((each) => each.state === 'failed');
  const reasons = [...new Set(operations.map((each) => each.error?.detail).filter(Boolean))];
  return [
    ['', operationText(operations)], [isFailed ? 'bad' : '', statesText(operations)],
    ['soft', operations.length === 1 ? stepsText(one) : ''],
    [isFailed ? 'bad' : 'soft', reasons.slice(0, SEVERAL).join('; ')], ['soft', '', one.created],
  ];
}

export const REQUEST = 60_000; // milliseconds: a request asks for node after node, without a longer pause

// What was asked for in one request is one list, whatever became of each node: its count is that of the request.
/** @param {Rest.Operation[]} operations @returns {Rest.Operation[][]} */
export function foldOperations(operations) {
  const keyOf = (one) => [one.kind, one.actor, one.cluster, one.computeset, one.image, one.node === null || one.kind === 'rename' ? one.id : ''].join('\n');
  const groups = [];
  const newest = new Map();
  for (const one of operations) {
    const group = newest.get(keyOf(one));
    const isSame = group && Date.parse(group.at(-1).created) - Date.parse(one.created) < REQUEST && !group.some((each) => each.node === one.node);
    if (isSame) group.push(one);
    else {
      groups.push([one]);
      newest.set(keyOf(one), groups.at(-1));
    }
  }
  return groups;
}
