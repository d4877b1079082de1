// A cluster on the page of owners: its picture, its nodes, and what can be done with those that are chosen.

import { ask, askOfMany, attempt, element, fillList, fillTexts, path, put, Refusal, say, SignedOut, some, time } from './page.js';
import { describe, diskOf, nodesOf, picture } from './picture.js';

const POWER = [
  ['poweron', 'Power on', null], ['shutdown', 'Shut down', null], ['reboot', 'Reboot', null],
  ['poweroff', 'Power off', (names) => `Power ${names} off at once? What the system has not written is lost.`],
];
const MANY = 24; // from here on, a list of its own height, and a field that finds nodes in it

function setOptions(place, entries) {
  const wanted = JSON.stringify(entries);
  if (place.dataset.entries === wanted) return;
  const before = place.value;
  place.dataset.entries = wanted;
  place.replaceChildren(...entries.map(([value, text]) => element('option', { value }, text)));
  if (entries.some(([value]) => value === before)) place.value = before;
}

export class Cluster {
  // `changed(name, operation)` is called when something was asked for; `rights` are the scopes of who asks.
  constructor(name, isOpen, rights, changed) {
    this.name = name;
    this.rights = rights;
    this.changed = changed;
    this.isAsking = false;
    this.chosen = new Set();
    this.about = element('p', { class: 'about soft' });
    this.picture = element('div', {});
    this.nodes = element('ul', { class: 'nodes', 'aria-label': `Nodes of ${name}` });
    this.find = element('input', { maxlength: 128, autocomplete: 'off', oninput: () => this.draw() });
    this.shown = element('p', { class: 'soft' });
    this.skip = element('a', { class: 'skip', href: '#', onclick: (event) => {
      event.preventDefault();
      this.all.focus();
    } }, 'Past the nodes');
    this.search = element('div', { class: 'find', hidden: true }, element('label', {}, 'Nodes with ', this.find), this.shown, this.skip);
    this.list = element('div', {}, this.search, this.nodes);
    this.summary = element('span', {});
    this.stale = element('span', { class: 'warn' });
    this.body = element('div', { class: 'cluster' }, this.about, this.list, this.picture, this.tools());
    this.element = element('details', { class: 'card', open: isOpen, ontoggle: () => this.draw() },
      element('summary', {}, element('h2', {}, name), this.summary, this.stale), this.body);
  }

  tools() {
    const button = (text, act) => element('button', { type: 'button', onclick: act }, text);
    this.all = element('input', { type: 'checkbox', onchange: () => this.chooseAll(this.all.checked) });
    this.minutes = element('input', { type: 'number', min: 1, value: 60 });
    this.allocation = element('select', {});
    this.image = element('select', {});
    this.count = element('legend', {});
    this.allText = element('span', {});
    const may = (right) => this.rights.includes(right);
    this.hasTools = may('power') || may('computeset') || may('image');
    return element('div', { class: 'tools', hidden: !this.hasTools },
      element('fieldset', {}, this.count, element('label', {}, this.all, this.allText),
        ...(may('power') ? POWER : []).map(([action, text, question]) => button(text, () => this.power(action, text, question)))),
      element('fieldset', { hidden: !may('computeset') }, element('legend', {}, 'A computeset of the chosen computes'),
        element('label', {}, 'Minutes ', this.minutes), element('label', {}, 'Allocation ', this.allocation),
        button('Start', () => attempt(() => this.start()))),
      element('fieldset', { hidden: !may('image') }, element('legend', {}, 'CD drive of the chosen nodes, from the next power-on'),
        element('label', {}, 'Image ', this.image), button('Attach', () => this.attach())));
  }

  update(cluster, images) {
    this.cluster = cluster;
    const nodes = nodesOf(cluster);
    const count = nodes.filter((node) => node.power === 'on').length;
    put(this.summary, `${count} of ${nodes.length} on · ${describe(cluster)}`);
    put(this.stale, cluster.stale ? `stale: seen ${time(cluster.observed_at)}` : '');
    put(this.about, [cluster.description, cluster.project && `project ${cluster.project}`, cluster.vlan && `VLAN ${cluster.vlan}`].filter(Boolean).join(' · '));
    setOptions(this.allocation, cluster.allocations.map((one) => [one, one]));
    this.offer(images);
    this.draw();
  }

  offer(images) {
    const names = images.filter((one) => one.state === 'ready').map((one) => one.name);
    setOptions(this.image, [['', '(none: take it out)'], ...names.map((one) => [one, one])]);
  }

  draw() {
    if (!this.element.open || !this.cluster) return;
    this.picture.replaceChildren(picture(this.cluster));
    const nodes = nodesOf(this.cluster);
    this.chosen = new Set([...this.chosen].filter((name) => nodes.some((node) => node.name === name)));
    const isMany = nodes.length > MANY;
    this.search.hidden = !isMany;
    this.list.className = isMany ? 'many' : '';
    const shown = this.visibleNodes();
    put(this.shown, `${shown.length} of ${nodes.length}`);
    fillList(this.nodes, shown, (node) => node.name, (row, node, isNew) => this.fill(row, node, isNew), isMany ? 'No node has that in its name.' : 'It has no nodes.');
    this.all.checked = shown.length > 0 && shown.every((node) => this.chosen.has(node.name));
    put(this.allText, shown.length === nodes.length ? ' all' : ` the ${shown.length} shown`);
    put(this.count, `Chosen nodes: ${this.chosen.size || 'none'}`);
  }

  // Those that the field above the list lets through, where there is one.
  visibleNodes() {
    const nodes = nodesOf(this.cluster);
    const part = nodes.length > MANY ? this.find.value.trim().toLowerCase() : '';
    return nodes.filter((node) => node.name.toLowerCase().includes(part));
  }

  fill(row, node, isNew) {
    if (isNew) {
      const box = element('input', { type: 'checkbox', onchange: () => this.choose(node.name, box.checked) });
      const console = (kind, text) => element('button', { type: 'button', onclick: () => this.console(node.name, kind), 'aria-label': `${text} of ${node.name}` }, text);
      row.append(element('label', {}, box, node.name), element('p', { class: 'about' }), element('div', { class: 'end', hidden: !this.rights.includes('console') }, console('vnc', 'Screen'), console('serial', 'Serial')));
    }
    row.querySelector('input').hidden = !this.hasTools;
    row.querySelector('input').checked = this.chosen.has(node.name);
    const disk = diskOf(node);
    fillTexts(row.querySelector('p'), [
      [`power ${node.power}`, node.power], [disk.place === 'way' ? 'warn' : 'soft', ` ${disk.text}`],
      ['soft', node.active_computeset ? ` · set ${node.active_computeset} ${node.active_computeset_state}` : ''],
      ['soft', node.iso ? ` · CD ${node.iso}${node.iso === node.iso_active ? '' : ' (from the next power-on)'}` : ''],
      ['warn', node.admin_disabled ? ' · disabled by an operator' : ''],
    ]);
  }

  choose(name, isChosen) {
    if (isChosen) this.chosen.add(name);
    else this.chosen.delete(name);
    this.draw();
  }

  chooseAll(isChosen) {
    for (const node of this.visibleNodes()) {
      if (isChosen) this.chosen.add(node.name);
      else this.chosen.delete(node.name);
    }
    this.draw();
  }

  // The path of a node: a frontend has one of its own.
  place(name, ...rest) {
    const isFrontend = this.cluster.frontend?.name === name;
    return path('cluster', this.name, ...(isFrontend ? ['frontend'] : ['compute', name]), ...rest);
  }

  // Asks for something of each chosen node; a refusal names its nodes, and the others are asked for nevertheless.
  async each(text, act) {
    if (!this.chosen.size) return say(`Choose nodes of ${this.name} first.`, 'Not done');
    if (this.isAsking) return say(`Nodes of ${this.name} are still being asked; wait a moment.`, 'Not done');
    this.isAsking = true;
    try {
      await this.askEach(text, [...this.chosen], act);
    } finally {
      this.isAsking = false;
    }
  }

  async askEach(text, names, act) {
    const asked = [];
    const refused = new Map();
    for (const name of names) {
      if (names.length > 5) say(`${text}: ${asked.length} of ${names.length} nodes are asked …`);
      try {
        const { content } = await act(name);
        asked.push(name);
        this.changed(this.name, content?.id);
      } catch (error) {
        if (error instanceof SignedOut) return;
        if (!(error instanceof Refusal)) throw error;
        refused.set(error.message, [...(refused.get(error.message) ?? []), name]);
      }
    }
    const reasons = [...refused].map(([reason, those]) => (reason.startsWith(`${those[0]} `) ? reason : `${some(those)}: ${reason}`));
    if (reasons.length) say(`${asked.length ? `${some(asked)} asked; ` : ''}${some(reasons, 3)}`, 'Refused');
    else say(`${text}: asked for ${some(asked)}.`);
    this.changed(this.name);
  }

  power(action, text, question) {
    if (question && this.chosen.size && !confirm(question(some([...this.chosen])))) return;
    this.each(text, (name) => askOfMany('PUT', this.place(name, action)));
  }

  attach() {
    this.each('CD drive', (name) => askOfMany('PUT', this.place(name, 'attach_iso'), { iso_name: this.image.value }));
  }

  async start() {
    const computes = this.cluster.computes.map((node) => node.name).filter((name) => this.chosen.has(name));
    if (!computes.length) return say(`Choose computes of ${this.name} first.`, 'Not done');
    const body = { cluster: this.name, computes, walltime_mins: Number(this.minutes.value) };
    if (this.allocation.value) body.allocation = this.allocation.value;
    await ask('POST', path('computeset'), body);
    say(`A computeset of ${computes.length} nodes was asked for.`);
    this.changed(this.name);
  }

  console(name, kind) {
    attempt(async () => {
      const { content } = await ask('POST', this.place(name, 'console'), { type: kind });
      window.open(content.page_url, '_blank', 'noopener');
    });
  }
}
