// Nodes of a cluster: how the service is asked about them, what was done to each, and what its row shows.

import { attempt, some } from './shared/page.js';
import { ask, askOfMany, path, Refusal } from './shared/requests.js';
import { byText, doneText, isLiving, progressTexts } from './shared/operations.js';
import { addressesOf, diskOf, driveText, isOn, memoryText, nodesOf, powerText, setText } from './shared/clusters.js';

// The path of a node: a frontend has one of its own.
/** @typedef {import('./shared/clusters.js').Machine} Machine */

/** @param {Rest.Cluster} cluster @param {Machine} node @param {string[]} rest */
export function pathOf(cluster, node, ...rest) {
  const isFrontend = cluster.frontend?.name === node.name;
  return path('cluster', cluster.name, ...(isFrontend ? ['frontend'] : ['compute', node.name]), ...rest);
}

// Node → its hardware addresses, by which it is known: names can be swapped.
/** @param {Rest.Cluster} cluster */
const keysOf = (cluster) => new Map(nodesOf(cluster).map((node) => [node.name, node.interface.map((one) => one.mac).join()]));

// What is another than it was, in words: of the nodes of these names, or of all.
/** @param {Rest.Cluster} before @param {Rest.Cluster} after @param {string[] | null} names */
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
/** @param {Rest.Cluster} known @param {() => void} readAgain @param {string[] | null} [names] */
export function unchanged(known, readAgain, names = null) {
  /** @type {string | null} */
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
  return { check, ask: async (method, target, body = undefined) => {
    for (let attempts = 1; ; attempts += 1) {
      if (etag === null) await check();
      try {
        return await askOfMany(method, target, body, etag);
      } catch (error) {
        etag = null; // the next attempt looks again
        if (error.status !== 412 || attempts === 10) throw error;
      }
    }
  } };
}

// Opens a console of the node in a page of its own.
/** @param {Rest.Cluster} cluster @param {Machine} node @param {string} type */
export const openConsole = (cluster, node, type) => attempt(async () => {
  const { content } = await ask('POST', pathOf(cluster, node, 'console'), { type });
  window.open(content.page_url, '_blank', 'noopener');
});

/** @param {Rest.Cluster} cluster @param {Machine} node */
export const screenOf = (cluster, node) => `../${pathOf(cluster, node, 'console', 'screen')}`;

const NEAR = 180_000; // milliseconds between the end of an operation and the change of power that it caused: guests take time to shut down
const IS_ON = { poweron: true, start_member: true, poweroff: false, shutdown: false, poweroff_member: false, shutdown_member: false };
/** @param {Rest.Operation} operation */
const targetOf = (operation) => operation.node ?? operation.computeset;

// What was asked for lately of the nodes of a cluster, and of its sets.
export class Doings {
  constructor() {
    this.asked = new Map(); // operation of this visit → whether its end was reported; one that fails stays beside its node
    this.removed = new Set(); // nodes whose removal was asked for in this visit
    /** @type {Map<string | number, Rest.Operation | null>} */
    this.newest = new Map(); // node, or number of a set → its newest operation, when that is under way or failed; else null
    /** @type {Map<string | number, Rest.Operation>} */
    this.before = new Map(); // node → the operation for which its newest one waits
    /** @type {Map<string, Rest.Operation>} */
    this.switched = new Map(); // node → the newest operation that switched it on or off
  }

  // What was accepted is beside its node at once; the event of its end comes later.
  /** @param {Rest.Operation} operation */
  began(operation) {
    this.asked.set(operation.id, false);
    this.newest.set(targetOf(operation), operation);
    if (operation.kind === 'destroy') this.removed.add(operation.node);
  }

  // `operations`: the newest first. Those of this visit whose end was not reported yet are returned.
  /** @param {Rest.Operation[]} operations */
  take(operations) {
    for (const map of [this.newest, this.before, this.switched]) map.clear();
    for (const one of operations) {
      const target = targetOf(one);
      const isShown = isLiving(one) || (one.state === 'failed' && (this.asked.has(one.id) || one.kind === 'start_member'));
      if (!this.newest.has(target)) this.newest.set(target, isShown ? one : null);
      else if (isLiving(one) && this.newest.get(target)?.state === 'queued') this.before.set(target, one);
      if (one.state === 'succeeded' && one.kind in IS_ON && !this.switched.has(one.node)) this.switched.set(one.node, one);
    }
    return operations.filter((one) => this.asked.get(one.id) === false);
  }

  // What is beside a node: what is done to it, or to its set; a failure to start it while it is off, and in that set.
  /** @param {Machine} node */
  of(node) {
    const [own, whole] = [this.newest.get(node.name), this.newest.get(node.active_computeset)];
    if (isLiving(own)) return own;
    if (isLiving(whole)) return whole.kind === 'start_set' && node.power === 'on' ? null : whole;
    if (own === undefined) return node.power === 'on' ? null : whole;
    return own?.kind === 'start_member' && (node.power === 'on' || own.computeset !== node.active_computeset) ? null : own;
  }

  // Not when somebody else, or its system, has switched it since.
  /** @param {Machine} node */
  switchOf(node) {
    const one = this.switched.get(node.name);
    const isSame = one && (!node.power_since || Math.abs(Date.parse(node.power_since) - Date.parse(one.ended)) < NEAR);
    return isSame && IS_ON[one.kind] === { on: true, off: false }[node.power] ? one : null;
  }
}

// What the row of a node shows, and what it is found and counted by.
/** @param {Rest.Cluster} cluster @param {Machine} node @param {Doings} doings @param {boolean} mayLook */
export function entryOf(cluster, node, doings, mayLook) {
  const [operation, switched] = [doings.of(node), doings.switchOf(node)];
  const texts = operation ? progressTexts(operation, doings.before.get(node.name)) : [];
  const doing = node.admin_disabled ? ['warn', 'disabled by an operator'] : texts.length ? [texts[0][0], texts.map(([, text]) => text).filter(Boolean).join('; ')]
    : node.power === 'unknown' ? ['warn', node.host_state] : ['', ''];
  const disk = diskOf(node);
  const entry = {
    node, disk, doing, power: powerText(node), role: node === cluster.frontend ? 'frontend' : '', addresses: addressesOf(node), memory: memoryText(node.memory),
    set: node.active_computeset ? setText(node.active_computeset, node.active_computeset_state) : '', drive: driveText(node),
    since: node.power_since ?? switched?.ended ?? null, sinceText: switched ? `${doneText(switched)}${byText(switched)}` : node.power_since ? powerText(node) : '',
    isBusy: isLiving(operation) || disk.place === 'way', isProblem: operation?.state === 'failed' || node.admin_disabled || ['crashed', 'unknown'].includes(node.power),
    mayOpen: mayLook && isOn(node), screen: screenOf(cluster, node), text: '',
  };
  entry.text = [node.name, entry.role, entry.power, doing[1], entry.set, ...entry.addresses, entry.memory, disk.text, entry.drive].join('\n');
  return entry;
}
