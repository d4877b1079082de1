// A cluster on the page of owners: its picture, its nodes, and what can be done with those that are chosen.

import { ask, attempt, element, fillList, fillTexts, path, put, say, time } from './page.js';
import { describe, diskOf, nodesOf, picture } from './picture.js';

const POWER = [
  ['poweron', 'Power on', null], ['shutdown', 'Shut down', null], ['reboot', 'Reboot', null],
  ['poweroff', 'Power off', (names) => `Power ${names} off at once? What the system has not written is lost.`],
];

export class Cluster {
  // `changed(name)` is called when something was asked for.
  constructor(name, isOpen, changed) {
    this.name = name;
    this.changed = changed;
    this.chosen = new Set();
    this.about = element('p', { class: 'about soft' });
    this.picture = element('div', {});
    this.nodes = element('ul', { class: 'nodes', 'aria-label': `Nodes of ${name}` });
    this.summary = element('span', {});
    this.stale = element('span', { class: 'warn' });
    this.body = element('div', { class: 'cluster' }, this.about, this.nodes, this.picture, this.tools());
    this.element = element('details', { class: 'card', open: isOpen, ontoggle: () => this.draw() },
      element('summary', {}, element('h2', {}, name), this.summary, this.stale), this.body);
  }

  tools() {
    const button = (text, act) => element('button', { type: 'button', onclick: act }, text);
    this.all = element('input', { type: 'checkbox', onchange: () => this.chooseAll(this.all.checked) });
    this.minutes = element('input', { type: 'number', min: 1, value: 60 });
    this.allocation = element('select', {});
    this.image = element('select', {});
    return element('div', { class: 'tools' },
      element('fieldset', {}, element('legend', {}, 'Chosen nodes'), element('label', {}, this.all, ' all'),
        ...POWER.map(([action, text, question]) => button(text, () => this.power(action, text, question)))),
      element('fieldset', {}, element('legend', {}, 'A computeset of the chosen computes'),
        element('label', {}, 'Minutes ', this.minutes), element('label', {}, 'Allocation ', this.allocation),
        button('Start', () => attempt(() => this.start()))),
      element('fieldset', {}, element('legend', {}, 'CD drive of the chosen nodes, from the next power-on'),
        element('label', {}, 'Image ', this.image), button('Attach', () => this.attach())));
  }

  update(cluster, images) {
    this.cluster = cluster;
    const nodes = nodesOf(cluster);
    const count = nodes.filter((node) => node.power === 'on').length;
    put(this.summary, `${count} of ${nodes.length} on · ${describe(cluster)}`);
    put(this.stale, cluster.stale ? `stale: seen ${time(cluster.observed_at)}` : '');
    put(this.about, [cluster.description, cluster.project && `project ${cluster.project}`, cluster.vlan && `VLAN ${cluster.vlan}`].filter(Boolean).join(' · '));
    if (this.allocation.options.length !== cluster.allocations.length) {
      this.allocation.replaceChildren(...cluster.allocations.map((one) => element('option', {}, one)));
    }
    this.offer(images);
    this.draw();
  }

  offer(images) {
    const names = images.filter((one) => one.state === 'ready').map((one) => one.name);
    if (this.image.dataset.names === JSON.stringify(names)) return;
    this.image.dataset.names = JSON.stringify(names);
    const before = this.image.value;
    this.image.replaceChildren(element('option', { value: '' }, '(none: take it out)'), ...names.map((one) => element('option', { value: one }, one)));
    if (names.includes(before)) this.image.value = before;
  }

  draw() {
    if (!this.element.open || !this.cluster) return;
    this.picture.replaceChildren(picture(this.cluster));
    const nodes = nodesOf(this.cluster);
    this.chosen = new Set([...this.chosen].filter((name) => nodes.some((node) => node.name === name)));
    fillList(this.nodes, nodes, (node) => node.name, (row, node, isNew) => this.fill(row, node, isNew), 'It has no nodes.');
    this.all.checked = this.chosen.size === nodes.length;
  }

  fill(row, node, isNew) {
    if (isNew) {
      const box = element('input', { type: 'checkbox', onchange: () => this.choose(node.name, box.checked) });
      const console = (kind, text) => element('button', { type: 'button', onclick: () => this.console(node.name, kind), 'aria-label': `${text} of ${node.name}` }, text);
      row.append(element('label', {}, box, node.name), element('p', { class: 'about' }), element('div', { class: 'end' }, console('vnc', 'Screen'), console('serial', 'Serial')));
    }
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
    this.chosen = new Set(isChosen ? nodesOf(this.cluster).map((node) => node.name) : []);
    this.draw();
  }

  // The path of a node: a frontend has one of its own.
  place(name, ...rest) {
    const isFrontend = this.cluster.frontend?.name === name;
    return path('cluster', this.name, ...(isFrontend ? ['frontend'] : ['compute', name]), ...rest);
  }

  // Asks for something of each chosen node; a refusal names the node, and the others are asked for nevertheless.
  async each(text, act) {
    if (!this.chosen.size) return say(`Choose nodes of ${this.name} first.`, true);
    const refused = [];
    for (const name of [...this.chosen]) {
      try {
        await act(name);
      } catch (error) {
        refused.push(`${name}: ${error.message}`);
      }
    }
    if (refused.length) say(refused.join(' — '), true);
    else say(`${text}: asked for ${[...this.chosen].join(', ')}.`);
    this.changed(this.name);
  }

  power(action, text, question) {
    if (question && this.chosen.size && !confirm(question([...this.chosen].join(', ')))) return;
    this.each(text, (name) => ask('PUT', this.place(name, action)));
  }

  attach() {
    this.each('CD drive', (name) => ask('PUT', this.place(name, 'attach_iso'), { iso_name: this.image.value }));
  }

  async start() {
    const computes = this.cluster.computes.map((node) => node.name).filter((name) => this.chosen.has(name));
    if (!computes.length) return say(`Choose computes of ${this.name} first.`, true);
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
