// A row of the list of nodes: what the node has, what is being done with it, and its consoles.

import { attempt, element, fillTexts, some, time } from './shared/page.js';
import { ask, askOfMany, path, Refusal } from './shared/requests.js';
import { byText, doneText, progressTexts } from './shared/operations.js';
import { diskOf, nodesOf, setText } from './shared/picture.js';
import { showScreen } from './screens.js';

// The path of a node: a frontend has one of its own.
export function pathOf(cluster, node, ...rest) {
  const isFrontend = cluster.frontend?.name === node.name;
  return path('cluster', cluster.name, ...(isFrontend ? ['frontend'] : ['compute', node.name]), ...rest);
}

// Node → its hardware addresses, by which it is known: names can be swapped.
const keysOf = (cluster) => new Map(nodesOf(cluster).map((node) => [node.name, node.interface.map((one) => one.mac).join()]));

// What is another than it was, in words: of the nodes of these names, or of all.
function differences(before, after, names) {
  const [then, now] = [keysOf(before), keysOf(after)];
  const keys = new Set(now.values());
  if (then.size && ![...then.values()].some((key) => keys.has(key))) return ['it is another cluster'];
  return (names ?? [...new Set([...then.keys(), ...now.keys()])]).filter((name) => then.get(name) !== now.get(name))
    .map((name) => `${name} ${!now.has(name) ? 'is not there any more' : then.has(name) ? 'is another node' : 'was added'}`);
}

// For changes of a cluster, and of nodes in it, that a question is about: `check()`, and `ask` as that of requests. Both
// refuse, in words, what has become another since the question was put, and have the page read it. What else changed
// meanwhile does not matter.
export function unchanged(known, readAgain, names = null) {
  let etag = null;
  const check = async () => {
    const answer = await ask('GET', path('cluster', known.name));
    const found = differences(known, answer.content, names);
    if (found.length) {
      readAgain();
      throw new Refusal(`${known.name} has changed since you were asked: ${some(found, 3)}; look at it again`, 'Not done');
    }
    etag = answer.etag;
  };
  return { check, ask: async (method, target) => {
    for (let attempts = 1; ; attempts += 1) {
      if (etag === null) await check();
      try {
        return await askOfMany(method, target, undefined, etag);
      } catch (error) {
        etag = null; // the next attempt looks again
        if (error.status !== 412 || attempts === 10) throw error;
      }
    }
  } };
}

const addressesOf = (node) => [...new Set([node.pub_ip, ...node.interface.map((one) => one.ip)])].filter(Boolean).join(', ');

function sizeOf(node) {
  const memory = node.memory >= 1024 ? `${+(node.memory / 1024).toFixed(1)} GiB` : `${node.memory} MiB`;
  return [node.cpus && `${node.cpus} CPU${node.cpus === 1 ? '' : 's'}`, node.memory && `${memory} memory`, node.disksize && `${node.disksize} GiB disk`]
    .filter(Boolean).join(', ');
}

// A machine that is on keeps what it had in its drive when it was switched on.
function driveText(node) {
  const kept = node.iso_active && node.iso_active !== node.iso && node.power !== 'off' ? `CD ${node.iso_active} until it is off` : '';
  const next = node.iso ? `CD ${node.iso}${node.iso === node.iso_active ? '' : ' from the next power-on'}` : '';
  return [kept, next].filter(Boolean).join(', then ');
}

function newRow(row, { cluster, node, choose }) {
  const box = element('input', { type: 'checkbox', onchange: () => choose(box.checked) });
  const console = (type, text) => element('button', { type: 'button', 'aria-label': `${text} of ${node.name}`, onclick: () => attempt(async () => {
    const { content } = await ask('POST', pathOf(cluster, node, 'console'), { type });
    window.open(content.page_url, '_blank', 'noopener');
  }) }, text);
  row.append(
    element('label', {}, box, node.name), element('img', { class: 'screen', alt: `Screen of ${node.name}`, hidden: true }),
    element('div', { class: 'what' }, element('p', { class: 'about' }), element('p', { class: 'progress', role: 'status' })),
    element('div', { class: 'end' }, console('vnc', 'Screen'), console('serial', 'Serial'),
      element('a', { href: `history?${new URLSearchParams({ target: `${cluster.name}/${node.name}` })}`, 'aria-label': `History of ${node.name}` }, 'History')),
  );
}

export function fillNode(row, isNew, shown) {
  if (isNew) newRow(row, shown);
  const { node, operation, switched } = shown;
  row.querySelector('input').hidden = !shown.isChoosable;
  row.querySelector('input').checked = shown.isChosen;
  for (const one of row.querySelectorAll('.end > button')) one.hidden = !shown.mayOpen || !['on', 'paused'].includes(node.power);
  if (shown.mayOpen) showScreen(row, node, `../${pathOf(shown.cluster, node, 'console', 'screen')}`);
  const disk = diskOf(node);
  fillTexts(row.querySelector('.about'), [
    [`power ${node.power}`, node.power === 'off' && node.state === 'nostate-error' ? 'off, never started' : node.power], ['soft', node === shown.cluster.frontend ? 'frontend' : ''], ['', addressesOf(node)], ['soft', sizeOf(node)], [disk.place === 'way' ? 'warn' : 'soft', disk.text],
    ['soft', node.active_computeset ? setText(node.active_computeset, node.active_computeset_state) : ''],
    ['soft', driveText(node)], ['soft', switched ? `${doneText(switched)}${byText(switched)}, ${time(switched.ended)}` : ''],
    ['warn', node.admin_disabled ? 'disabled by an operator' : ''],
  ]);
  fillTexts(row.querySelector('.progress'), operation ? progressTexts(operation, shown.before) : []);
}
