// The table of a cluster's nodes: filtered, sorted and chosen by what the address of the page says, its rows updated in place.

import { byId, element, put, putMoment } from './shared/page.js';
import { filterTest, folded, namesTest } from './shared/hostlists.js';
import { isOn, nodeLink } from './shared/clusters.js';
import { showScreen } from './screens.js';

const natural = new Intl.Collator('en', { numeric: true }).compare;
/** @typedef {ReturnType<typeof import('./nodes.js').entryOf>} Entry */
/** @typedef {InstanceType<typeof import('./metrics/sparklines.js').Sparklines>} Sparklines */

/** @type {[string, string, (one: Entry) => boolean][]} */
const CHIPS = [
  ['', 'All', () => true], ['on', 'On', ({ node }) => isOn(node)], ['off', 'Off', ({ node }) => node.power === 'off'],
  ['busy', 'Busy', (one) => one.isBusy], ['problem', 'Problem', (one) => one.isProblem],
];
// What a column sorts by; empty values come last in both directions.
/** @type {[string, string, (one: Entry, sparklines: Sparklines | null) => string | number | null][]} */
const COLUMNS = [
  ['name', 'Name', (one) => one.node.name], ['power', 'Power', (one) => one.power], ['set', 'Computeset', (one) => one.node.active_computeset],
  ['address', 'Address', (one) => one.addresses[0]], ['cpus', 'CPU', (one) => one.node.cpus], ['memory', 'Memory', (one) => one.node.memory],
  ['disk', 'Disk', (one) => one.disk.text], ['since', 'Since', (one) => one.since], ['use', 'CPU use', (one, sparklines) => sparklines?.mean(one.node.name)],
];
const CELLS = /** @type {const} */ (['name', 'power', 'set', 'address', 'cpus', 'memory', 'disk', 'since', 'use', 'consoles', 'screen']);
const SWITCHES = /** @type {const} */ (['screens', 'use']); // of columns that cost the site something

export class NodeTable {
  // `draw()` is called when the view has changed; `chosen`: the names of the chosen nodes; `open(node, type)` opens a console.
  /** @param {() => void} draw @param {Set<string>} chosen @param {(node: string, type: string) => any} open */
  constructor(draw, chosen, open) {
    this.draw = draw;
    this.chosen = chosen;
    this.open = open;
    /** @type {Map<string, ReturnType<NodeTable['newRow']>>} */
    this.rows = new Map();
    /** @type {Entry[]} */
    this.visible = [];
    /** @type {string | null} */
    this.anchor = null;
    /** @type {HTMLTableRowElement | null} */
    this.current = null;
    this.body = byId('nodes').tBodies[0];
    const given = new URLSearchParams(location.search);
    this.view = { show: given.get('show') ?? '', filter: given.get('filter') ?? '', sort: given.get('sort') ?? '', screens: given.get('screens') ?? '', use: given.get('use') ?? '' };
    /** @type {Sparklines | null} */
    this.sparklines = null; // of a part that a site may lack
    this.wanted = given.get('selected') ?? ''; // until its nodes are known
    this.all = element('input', { type: 'checkbox', onchange: () => this.choose(this.visible, this.all.checked) });
    this.heads = new Map(COLUMNS.map(([key, text]) => [key, element('th', { scope: 'col', 'data-cell': key }, element('button', { type: 'button', onclick: () => this.sortBy(key) }, text))]));
    byId('nodes').tHead.append(element('tr', {}, element('td', { 'data-cell': 'pick' }, this.all), ...this.heads.values(),
      element('th', { scope: 'col', 'data-cell': 'consoles' }, 'Console'), element('th', { scope: 'col', 'data-cell': 'screen' }, 'Screen')));
    this.chips = new Map(CHIPS.map(([key]) => [key, element('button', { type: 'button', onclick: () => this.change('show', key) })]));
    byId('chips').replaceChildren(...this.chips.values());
    byId('filter').value = this.view.filter;
    byId('filter').addEventListener('input', () => this.change('filter', byId('filter').value.trim()));
    for (const id of SWITCHES) byId(id).addEventListener('change', () => this.change(id, byId(id).checked ? '1' : ''));
    this.body.addEventListener('keydown', (event) => this.move(event));
    this.body.addEventListener('focusin', (event) => this.makeCurrent(/** @type {HTMLElement} */ (event.target).closest('tr')));
  }

  change(key, value) {
    this.view[key] = value;
    this.anchor = null;
    this.draw();
  }

  // By the column, then the other way round, then as the cluster has them. The busiest nodes come first.
  sortBy(key) {
    const [first, second] = key === 'use' ? [`-${key}`, key] : [key, `-${key}`];
    this.change('sort', { [first]: second, [second]: '' }[this.view.sort] ?? first);
  }

  /** @param {Entry[]} entries @param {boolean} isChosen */
  choose(entries, isChosen) {
    for (const { node } of entries) {
      if (isChosen) this.chosen.add(node.name);
      else this.chosen.delete(node.name);
    }
    this.draw();
  }

  // With Shift, all from the last one that was clicked to this one.
  pick(name, { target, shiftKey }) {
    const [from, to] = [this.anchor ?? name, name].map((one) => this.visible.findIndex(({ node }) => node.name === one));
    const isRange = shiftKey && from >= 0;
    this.anchor = name;
    this.choose(isRange ? this.visible.slice(Math.min(from, to), Math.max(from, to) + 1) : [this.visible[to]], target.checked);
  }

  // Up and Down go from row to row: the Tab key stops at the controls of one row, not of hundreds.
  move(event) {
    const control = /** @type {HTMLElement} */ (event.target);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const at = this.visible.findIndex(({ node }) => this.rows.get(node.name).row === control.closest('tr')) + step;
    if (!step || at < 0 || at >= this.visible.length) return;
    event.preventDefault();
    const kind = control.dataset.control;
    const { row } = this.rows.get(this.visible[at].node.name);
    const same = /** @type {HTMLElement} */ (row.querySelector(`[data-control=${kind}]:not([hidden])`)) ?? row.querySelector('a');
    this.makeCurrent(row);
    same.focus();
  }

  /** @param {HTMLTableRowElement | null} row */
  makeCurrent(row) {
    if (row === this.current) return;
    /** @returns {Iterable<HTMLElement>} */
    const controls = (/** @type {HTMLElement | null} */ of) => of?.querySelectorAll('[data-control]') ?? [];
    for (const one of controls(this.current)) one.tabIndex = -1;
    for (const one of controls(row)) one.tabIndex = 0;
    this.current = row;
  }

  // `entries`: of each node {node, power, doing, isBusy, isProblem, set, addresses, memory, disk, drive, since, sinceText, mayOpen, screen, text}.
  /** @param {Rest.Cluster} cluster @param {Entry[]} entries @param {boolean} isChoosable */
  fill(cluster, entries, isChoosable) {
    const test = filterTest(this.view.filter);
    if (this.wanted) {
      const isWanted = namesTest(this.wanted);
      for (const { node } of entries) if (isWanted(node.name)) this.chosen.add(node.name);
      this.wanted = '';
    }
    const found = test ? entries.filter((one) => test({ name: one.node.name, power: one.node.power, set: one.node.active_computeset, addresses: one.addresses, text: one.text })) : entries;
    for (const [key, text, isOf] of CHIPS) {
      put(this.chips.get(key), `${text} ${found.filter(isOf).length}`);
      this.chips.get(key).setAttribute('aria-pressed', String(this.view.show === key));
    }
    this.visible = this.sorted(found.filter(CHIPS.find(([key]) => key === this.view.show)?.[2] ?? (() => true)));
    byId('nodes').classList.toggle('choosable', isChoosable);
    byId('use').parentElement.hidden = !this.sparklines;
    this.sparklines?.want(this.view.use !== '');
    for (const id of SWITCHES) {
      byId(id).checked = this.view[id] !== '';
      byId('nodes').classList.toggle(id, byId(id).checked);
    }
    this.place(cluster);
    this.all.checked = this.visible.length > 0 && this.visible.every(({ node }) => this.chosen.has(node.name));
    this.all.hidden = !isChoosable;
    this.all.ariaLabel = this.visible.length === entries.length ? 'Select all' : `Select the ${this.visible.length} visible`;
    put(byId('found'), this.visible.length === entries.length ? '' : this.visible.length ? `${this.visible.length} of ${entries.length} nodes` : 'No node matches.');
    this.keepView();
  }

  /** @param {Entry[]} entries */
  sorted(entries) {
    const key = this.view.sort.replace('-', '');
    const [, , valueOf] = COLUMNS.find(([one]) => one === key) ?? [];
    for (const [one, head] of this.heads) head.ariaSort = one !== key ? 'none' : this.view.sort === key ? 'ascending' : 'descending';
    if (!valueOf) return entries;
    const sign = this.view.sort === key ? 1 : -1;
    const compare = (one, other) => (typeof one === 'number' ? one - other : natural(one, other));
    const isEmpty = (value) => value === null || value === undefined || value === '';
    return [...entries].sort((one, other) => {
      const [first, second] = [one, other].map((entry) => valueOf(entry, this.sparklines));
      if (isEmpty(first) || isEmpty(second)) return Number(isEmpty(first)) - Number(isEmpty(second));
      return sign * compare(first, second);
    });
  }

  // How many chosen nodes are not visible.
  hidden() {
    return this.chosen.size - this.visible.filter(({ node }) => this.chosen.has(node.name)).length;
  }

  // The rows that are visible, in their order; what is as it was is not touched.
  /** @param {Rest.Cluster} cluster */
  place(cluster) {
    const focused = /** @type {HTMLElement} */ (document.activeElement);
    const isHere = this.body.contains(focused);
    const held = this.visible.map((entry) => {
      const { name } = entry.node;
      if (!this.rows.has(name)) this.rows.set(name, this.newRow(cluster, name));
      this.fillRow(this.rows.get(name), entry);
      return this.rows.get(name).row;
    });
    const kept = new Set(held);
    for (const row of [...this.body.rows]) if (!kept.has(row)) row.remove();
    held.forEach((row, index) => {
      if (row !== this.body.children[index]) this.body.insertBefore(row, this.body.children[index] ?? null);
    });
    if (!kept.has(this.current)) this.makeCurrent(held[0]);
    if (!isHere || focused === document.activeElement) return;
    (focused.isConnected ? focused : this.current?.querySelector('a') ?? byId('filter')).focus();
  }

  // Forgets nodes that are gone.
  forget(names) {
    for (const name of this.rows.keys()) if (!names.has(name)) this.rows.delete(name);
  }

  newRow(cluster, name) {
    const box = element('input', { type: 'checkbox', tabindex: -1, 'data-control': 'box', 'aria-label': `Select ${name}`, onclick: (event) => this.pick(name, event) });
    const cells = Object.fromEntries(CELLS.map((key) => [key, element('td', { 'data-cell': key })]));
    cells.name = element('th', { scope: 'row', 'data-cell': 'name' }, element('a', { tabindex: -1, 'data-control': 'link', href: nodeLink(cluster.name, name) }, name), element('span', { class: 'soft' }));
    cells.power.append(element('span'), element('span'));
    cells.disk.append(element('span'), element('span', { class: 'soft' }));
    cells.consoles.append(...[['vnc', 'Screen'], ['serial', 'Serial']].map(([type, text]) => element('button',
      { type: 'button', tabindex: -1, 'data-control': type, 'aria-label': `${text} of ${name}`, onclick: () => this.open(name, type) }, text)));
    const image = element('img', { alt: `Screen of ${name}`, hidden: true });
    cells.screen.append(image);
    return { row: element('tr', { 'data-key': name }, element('td', { 'data-cell': 'pick' }, box), ...Object.values(cells)), box, cells, image, shown: '' };
  }

  /** @param {ReturnType<NodeTable['newRow']>} held @param {Entry} entry */
  fillRow(held, entry) {
    const { row, box, cells } = held;
    const isChosen = this.chosen.has(entry.node.name);
    if (box.checked !== isChosen) box.checked = isChosen;
    if (this.view.screens || held.image.dataset.address) showScreen(row, held.image, this.view.screens && entry.mayOpen ? entry.screen : '');
    if (this.view.use) this.sparklines?.draw(cells.use, entry.node);
    const shown = JSON.stringify([entry.node.power, entry.power, entry.doing, entry.role, entry.set, entry.addresses, entry.node.cpus, entry.memory, entry.disk, entry.drive, entry.since, entry.sinceText, entry.mayOpen]);
    if (held.shown === shown) return;
    held.shown = shown;
    const [power, doing] = cells.power.children;
    power.className = `power ${entry.node.power}`;
    put(power, entry.power);
    const [kind, text] = entry.doing;
    doing.className = `doing ${kind}`;
    put(doing, text);
    put(cells.name.lastChild, entry.role);
    put(cells.set, entry.set);
    put(cells.address, entry.addresses.join(', '));
    put(cells.cpus, String(entry.node.cpus ?? ''));
    put(cells.memory, entry.memory);
    const [disk, drive] = cells.disk.querySelectorAll('span');
    disk.className = entry.disk.place === 'way' ? 'warn' : '';
    disk.dataset.place = entry.disk.place;
    put(disk, entry.disk.text);
    put(drive, entry.drive);
    drive.title = entry.drive;
    putMoment(cells.since, '', entry.since, entry.sinceText);
    for (const one of cells.consoles.querySelectorAll('button')) one.hidden = !entry.mayOpen;
  }

  // The address of the page leads to the same view, also for a colleague.
  keepView() {
    const query = new URLSearchParams(location.search);
    for (const [key, value] of Object.entries({ ...this.view, selected: folded(this.chosen) })) {
      if (value) query.set(key, value);
      else query.delete(key);
    }
    const address = `?${query}`;
    if (address !== location.search) history.replaceState(null, '', address);
  }
}
