// What can be done with the chosen nodes of a cluster, as far as it fits their state.

import { attempt, element, put, say, some } from './shared/page.js';
import { ask, askerOnce, askOfMany, AWAY, path, Refusal, SignedOut } from './shared/requests.js';
import { isWaiting, nodesOf } from './shared/clusters.js';
import { minutesOf, requested, walltimeMinutes } from './shared/durations.js';
import { question } from './shared/question.js';
import { estimates } from './shared/sets.js';
import { pathOf, unchanged } from './nodes.js';

/** @typedef {import('./shared/clusters.js').Machine} Machine */

/** @param {Machine} node */
const isOff = (node) => ['off', 'crashed'].includes(node.power);
const LOSS = 'What their systems have not written to disk is lost.';
/** @type {{name: string, text: string, fits: (node: Machine) => boolean, reason: string, loss?: string}[]} */
const POWER = [
  { name: 'poweron', text: 'Power on', fits: (node) => !['on', 'paused'].includes(node.power) && !isWaiting(node.active_computeset_state), reason: 'None of the selected nodes is off. Those of a set that waits start with it.' }, // of an unknown one the site decides
  { name: 'shutdown', text: 'Shut down', fits: (node) => node.power === 'on', reason: 'None of the selected nodes is on.' },
  { name: 'reboot', text: 'Reboot', fits: (node) => node.power === 'on', reason: 'None of the selected nodes is on.' },
  { name: 'reset', text: 'Reset', fits: (node) => node.power === 'on', reason: 'None of the selected nodes is on.', loss: LOSS },
  { name: 'poweroff', text: 'Power off', fits: (node) => !isOff(node), reason: 'All of the selected nodes are off.', loss: LOSS },
];

export class Actions {
  // `began(operation)` is called for what the service accepted, `changed()` for what it has done, `draw()` when the choice has
  // changed, and `renamed(name)` when the only chosen node has another name.
  /**
   * @param {HTMLElement} place
   * @param {string[]} rights
   * @param {{began: (operation: Rest.Operation) => void, changed: () => void, draw: () => void, renamed?: (name: string) => void}} calls
   */
  constructor(place, rights, { began, changed, draw, renamed = () => {} }) {
    this.place = place;
    this.began = began;
    this.changed = changed;
    this.draw = draw;
    this.renamed = renamed;
    this.isAsking = false;
    /** @type {string[]} */
    this.images = [];
    /** @type {Rest.Cluster} */
    this.cluster = null;
    /** @type {Set<string>} names */
    this.chosen = new Set();
    this.count = element('strong', { role: 'status' });
    this.clear = element('button', { type: 'button', onclick: () => this.chooseNone() }, 'Clear');
    this.buttons = new Map();
    const button = (action, act) => {
      const made = element('button', { type: 'button', class: action.loss ? 'destructive' : null, onclick: () => (this.targets(action).length ? act() : say(action.reason, 'Not done')) }, action.text);
      this.buttons.set(action, made);
      return made;
    };
    const made = [];
    if (rights.includes('power')) made.push(...POWER.map((action) => button(action, () => this.power(action, rights))));
    else if (rights.includes('computeset')) made.push(button(POWER[0], () => this.power(POWER[0], rights)));
    if (rights.includes('image')) {
      const drive = { text: 'CD drive', fits: () => true };
      made.push(button(drive, () => this.attach(drive)));
    }
    const isCompute = (node) => node !== this.cluster.frontend;
    if (rights.includes('rename')) {
      const rename = { text: 'Rename', fits: (node) => isCompute(node) && this.chosen.size === 1, reason: 'Select one compute.' };
      made.push(button(rename, () => this.rename(this.targets(rename)[0])));
    }
    if (rights.includes('cluster:reinstall')) {
      const isFree = (node) => node.power === 'off' && !node.active_computeset;
      const reinstall = { text: 'Reinstall', fits: isFree, reason: 'None of the selected nodes is off and in no set.', loss: true };
      const clone = { text: 'Replace by a clone', fits: (node) => isCompute(node) && isFree(node), reason: 'None of the selected nodes is a compute that is off and in no set.', loss: true };
      made.push(button(reinstall, () => attempt(() => this.reinstall(this.targets(reinstall)))), button(clone, () => this.clone(this.targets(clone), clone.fits)));
    }
    if (rights.includes('cluster:destroy')) {
      const remove = { text: 'Remove', fits: (node) => isCompute(node) && isOff(node) && !node.active_computeset, reason: 'None of the selected nodes is a compute that is off and in no set.', loss: true };
      made.push(button(remove, () => this.remove(this.targets(remove))));
    }
    this.isAny = made.length > 0;
    place.className = 'actions';
    place.hidden = true;
    place.replaceChildren(this.count, ...made, this.clear);
  }

  // `chosen`: names; there are no actions without one. What is always chosen, as on the page of a node, is not counted.
  // `hidden`: how many of the chosen nodes the filter hides.
  /** @param {Rest.Cluster} cluster @param {Set<string>} chosen @param {{ isFixed?: boolean, hidden?: number }} [how] */
  update(cluster, chosen, { isFixed = false, hidden = 0 } = {}) {
    this.cluster = cluster;
    this.chosen = chosen;
    this.place.hidden = !this.isAny || !chosen.size;
    this.count.hidden = this.clear.hidden = isFixed;
    put(this.count, `${chosen.size} selected${hidden ? `, ${hidden} of them hidden by the filter` : ''}`);
    // not `disabled`: the button would lose the focus when its node changes, and could not give its reason
    for (const [action, button] of this.buttons) button.setAttribute('aria-disabled', String(!this.targets(action).length));
  }

  offer(images) {
    this.images = images.filter((one) => one.state === 'ready').map((one) => one.name);
  }

  /** @returns {Machine[]} */
  targets(action) {
    return nodesOf(this.cluster).filter((node) => this.chosen.has(node.name) && action.fits(node));
  }

  chooseNone() {
    this.chosen.clear();
    this.draw();
  }

  // Free computes are switched on by starting a computeset of them; frontends, and members of a set, by themselves.
  power(action, rights) {
    const targets = this.targets(action);
    const ask = (nodes) => this.each(action.text, nodes, (node) => askOfMany('PUT', pathOf(this.cluster, node, action.name)));
    if (action.name === 'poweron') {
      const isFree = (node) => node !== this.cluster.frontend && !node.active_computeset;
      const others = rights.includes('power') ? targets.filter((node) => !isFree(node)) : [];
      if (others.length) ask(others);
      const free = targets.filter(isFree);
      if (free.length) this.startSet(free.map((node) => node.name));
    } else if (action.loss || targets.length > 1) {
      question({
        title: `${action.text} ${some(targets.map((node) => node.name))}${action.loss ? ' at once' : ''}?`, text: action.loss, action: action.text, isDestructive: true,
        act: async () => { ask(targets); },
      });
    } else ask(targets);
  }

  /** @param {string[]} computes names */
  startSet(computes) {
    const cost = element('p', { class: 'soft', role: 'status' });
    const select = element('select', {}, ...this.cluster.allocations.map((one) => element('option', { value: one }, one)));
    const walltime = element('input', { value: localStorage.getItem('walltime') ?? '2d', maxlength: 8, autocomplete: 'off' });
    const bodyOf = (minutes) => ({ cluster: this.cluster.name, computes, walltime_mins: minutes, ...(select.value && { allocation: select.value }) });
    const estimate = estimates(cost, () => bodyOf(minutesOf(walltime.value)));
    for (const one of [walltime, select]) one.addEventListener('input', estimate.changed);
    estimate.changed();
    const start = askerOnce();
    question({
      title: `Start a computeset of ${some(computes)}`, text: cost, action: 'Start',
      fields: [
        { name: 'walltime_mins', label: 'Walltime, as 90m, 6h or 2d', input: walltime },
        { name: 'allocation', label: 'Allocation', input: select },
      ],
      act: async (values) => {
        const body = bodyOf(requested(walltimeMinutes(values.walltime_mins, 'walltime_mins')));
        estimate.sent();
        this.began((await start(path('computeset'), body)).content);
        localStorage.setItem('walltime', walltime.value); // the next set's default
        say(`Starting ${some(computes)} as a computeset …`);
      },
    });
  }

  /** @param {Machine} node */
  rename(node) {
    question({
      title: `Rename ${node.name}`, text: 'This is its name here and in comet. Its system keeps its own.', action: 'Rename',
      fields: [{ name: 'name', label: 'New name', input: element('input', { value: node.name, maxlength: 63, autocomplete: 'off' }) }],
      act: async (values) => {
        await ask('POST', pathOf(this.cluster, node, 'rename'), values);
        say(`${node.name} is called ${values.name} now.`);
        if (this.chosen.delete(node.name)) this.chosen.add(values.name);
        this.renamed(values.name);
        this.changed();
      },
    });
  }

  // Something of the nodes is lost: the name is typed once more, and a node that became another meanwhile is left alone.
  /**
   * @param {Machine[]} targets
   * @param {{action: string, title?: string, text: string, fields?: any[], request: (same: ReturnType<typeof unchanged>, target: string, values: Record<string, string>) => any}} about
   */
  lose(targets, { action, title = action, text, fields = [], request }) {
    const { cluster } = this;
    const same = unchanged(cluster, this.changed, targets.map((node) => node.name));
    const expected = targets.length === 1 ? targets[0].name : cluster.name;
    question({
      title: `${title} ${some(targets.map((node) => node.name))}?`, text, action, isDestructive: true,
      fields: [...fields, { name: 'confirm', label: `Type ${expected} to confirm`, input: element('input', { maxlength: 128, autocomplete: 'off' }) }],
      act: async ({ confirm, ...values }) => {
        if (confirm.trim() !== expected) throw new Refusal('The name is another', 'Not done', false, [{ pointer: '#/confirm', detail: `It must be ${expected}` }]);
        await same.check();
        this.each(action, targets, (node) => request(same, pathOf(cluster, node), { confirm: node.name, ...values }));
      },
    });
  }

  /** @param {Machine[]} targets */
  remove(targets) {
    this.lose(targets, {
      action: 'Remove', text: 'You cannot undo this. Their disks stay with the site.',
      request: (same, target, values) => same.ask('DELETE', `${target}?${new URLSearchParams(values)}`),
    });
  }

  /** @param {Machine[]} targets */
  async reinstall(targets) {
    const { content: images } = await ask('GET', path('image', 'disk'));
    const select = element('select', {}, ...[['', 'the one that each has'], ...images.map((one) => [one, one])].map(([value, text]) => element('option', { value }, text)));
    this.lose(targets, {
      action: 'Reinstall', fields: [{ name: 'image', label: 'Image', input: select }],
      text: 'All that is on their system disks is lost. The next power-on makes them anew from the image. Names, addresses and other disks stay.',
      request: (same, target, { image, ...values }) => same.ask('POST', `${target}/reinstall`, { ...values, ...(image && { image }) }),
    });
  }

  /** @param {Machine[]} targets @param {(node: Machine) => boolean} fits */
  clone(targets, fits) {
    const names = this.cluster.computes.filter((node) => fits(node) && !targets.includes(node)).map((node) => node.name);
    if (!names.length) return say('No other compute is off and in no set, whose disk could be cloned.', 'Not done');
    const select = element('select', {}, ...names.map((one) => element('option', { value: one }, one)));
    return this.lose(targets, {
      action: 'Replace by a clone', title: 'Give a cloned disk to', fields: [{ name: 'original', label: 'Compute whose disk is cloned', input: select }],
      text: 'All that is on their system disks is lost. Each gets a clone of the disk of another compute. Names, addresses and other disks stay.',
      request: (same, target, values) => same.ask('POST', `${target}/clone`, values),
    });
  }

  attach(drive) {
    const targets = this.targets(drive);
    const select = element('select', {}, ...[...this.images.map((one) => [one, one]), ['', '(none: take it out)']].map(([value, text]) => element('option', { value }, text)));
    question({
      title: `CD drive of ${some(targets.map((node) => node.name))}`, action: 'Attach',
      text: this.images.length ? 'A node that is on has it after it was shut down and powered on; a reboot does not change it.' : 'There are no images: the page Images uploads one.',
      fields: [{ name: 'iso_name', label: 'Image', input: select }],
      act: async (values) => { this.each('CD drive', targets, (node) => askOfMany('PUT', pathOf(this.cluster, node, 'attach_iso'), values)); },
    });
  }

  // Asks for something of each node; a refusal names its nodes, and the others are asked for nevertheless.
  /** @param {string} text @param {Machine[]} nodes @param {(node: Machine) => Promise<{content: any}>} act */
  async each(text, nodes, act) {
    if (this.isAsking) return say('Nodes are still being asked; wait a moment.', 'Not done');
    this.isAsking = true;
    const asked = [];
    const refused = new Map();
    let isSent = false;
    try {
      for (const node of nodes) {
        if (nodes.length > 5) say(`${text}: ${asked.length} of ${nodes.length} nodes are asked …`);
        try {
          const { content } = await act(node);
          asked.push(node.name);
          this.began(content);
        } catch (error) {
          if (error instanceof SignedOut) return;
          if (!(error instanceof Refusal)) throw error;
          isSent ||= error.word !== AWAY;
          refused.set(error.message, [...(refused.get(error.message) ?? []), node.name]);
        }
      }
    } finally {
      this.isAsking = false;
    }
    const reasons = [...refused].map(([reason, those]) => (reason.startsWith(`${those[0]} `) ? reason : `${some(those)}: ${reason}`));
    if (reasons.length) say(`${asked.length ? `${some(asked)} asked; ` : ''}${some(reasons, 3)}`, isSent ? 'Refused' : 'Not sent');
    else say(`${text}: sent for ${some(asked)}.`);
  }
}
