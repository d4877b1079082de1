// The CPUs that each node of a cluster kept busy in the last hour, drawn small: one request for all nodes, each minute.

import { attempt, say } from '../shared/page.js';
import { ask, path } from '../shared/requests.js';
import { drawn } from '../lines.js';

const RENEWED = 60_000;
const HEIGHT = 20;
const LATEST = 2; // values: the last one may not be there yet

// Of a line whose top is `most`; with gaps where nothing was measured.
function pathOf(values, most) {
  const parts = [];
  values.forEach((value, index) => {
    if (value !== null) parts.push(`${(values[index - 1] ?? null) === null ? 'M' : 'L'}${index} ${(HEIGHT * (1 - Math.min(1, value / most))).toFixed(1)}`);
  });
  return parts.join('');
}

export class Sparklines {
  // `changed()` is called when there are other values, `lacking()` when the site has none.
  /** @param {string} cluster @param {{changed: () => void, lacking: () => void}} calls */
  constructor(cluster, { changed, lacking }) {
    this.cluster = cluster;
    this.changed = changed;
    this.lacking = lacking;
    this.timer = null;
    /** @type {Map<string, (number | null)[]>} */
    this.values = new Map();
    this.shown = new WeakMap();
  }

  // Asks for values from now on, or not any more.
  want(isWanted) {
    if (isWanted === (this.timer !== null)) return;
    clearInterval(this.timer);
    this.values = new Map();
    this.timer = isWanted ? setInterval(() => document.hidden || this.renew(), RENEWED) : null;
    if (isWanted) this.renew();
  }

  async renew() {
    const error = await attempt(async () => {
      const { content } = await ask('GET', `${path('cluster', this.cluster, 'metrics')}?hours=1`);
      this.values = new Map(content.nodes.map(({ name, cpu }) => [name, cpu]));
      if (!content.reason) return;
      say(content.reason);
      this.lacking();
    });
    if (error) this.values = new Map(); // old ones would look like those of now
    this.changed();
  }

  // The busy CPUs of a node, on average of what was measured in the hour; null without any.
  mean(name) {
    const measured = (this.values.get(name) ?? []).filter((value) => value !== null);
    return measured.length ? measured.reduce((sum, value) => sum + value, 0) / measured.length : null;
  }

  // In a cell, whose whole height is all CPUs of the node.
  /** @param {HTMLElement} cell @param {import('../shared/clusters.js').Machine} node */
  draw(cell, { name, cpus }) {
    const values = this.values.get(name);
    if (this.shown.get(cell) === values) return;
    this.shown.set(cell, values);
    cell.replaceChildren();
    cell.title = '';
    if (!values?.some((value) => value !== null)) return;
    const most = cpus || Math.max(1, ...values);
    const last = values.slice(-LATEST).findLast((value) => value !== null) ?? null;
    const label = `${last === null ? 'Not measured now' : `${last.toFixed(2)} of ${most} CPUs busy`}; the line is of the last hour`;
    const made = drawn('svg', { class: 'spark', viewBox: `0 0 ${values.length - 1} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label });
    made.append(drawn('path', { d: pathOf(values, most) }));
    cell.title = label;
    cell.append(made);
  }
}
