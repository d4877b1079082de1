// Plots of what a node uses, in an hour, a day or a week. uPlot draws them.

import { attempt, element, put, zone } from '../shared/page.js';
import { ask, path, query } from '../shared/requests.js';
import UPlot from '../uplot/uPlot.esm.js';

/** @type {[string, number][]} */
const SPANS = [['Hour', 1], ['Day', 24], ['Week', 168]];
/** @type {[string, string, ...[string, string][]][]} */
const PLOTS = [['CPU', '', ['cpu', 'busy CPUs']], ['Memory', 'B', ['memory', 'given by the host']], ['Network', 'B/s', ['received', 'in'], ['sent', 'out']], ['Disk', 'B/s', ['read', 'read'], ['written', 'written']]];
const HEIGHT = 130;
const COLOURS = ['#2f7ed8', '#d9822b'];
const RENEWED = 60_000;

// Such as `2.1 MB/s`; without a unit two digits are enough.
export function quantity(number, unit) {
  if (number === null || number === undefined) return 'not measured';
  if (!unit) return number.toFixed(2);
  const power = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(number, 1)) / 3)));
  return `${(number / 1000 ** power).toFixed(power ? 1 : 0)} ${['', 'k', 'M', 'G', 'T'][power]}${unit}`;
}

const last = (values) => values.findLast((one) => one !== null);

function options(width, unit, series) {
  const style = getComputedStyle(document.body);
  const axis = { stroke: style.color, grid: { stroke: '#8884', width: 1 }, ticks: { show: false }, font: `11px ${style.fontFamily}` };
  return {
    width, height: HEIGHT, tzDate: (seconds) => UPlot.tzDate(new Date(seconds * 1000), zone()), legend: { show: false }, cursor: { drag: { x: false, y: false } },
    scales: { y: { range: (_, low, high) => [0, Math.max(high, unit ? 1000 : 0.1) * 1.1] } },
    axes: [axis, { ...axis, size: 70, values: (_, ticks) => ticks.map((one) => quantity(one, unit)) }],
    series: [{}, ...series.map(([, label], index) => ({ label, stroke: COLOURS[index], width: 1.5, spanGaps: false }))],
  };
}

// Shows the plots of a node in a section, with buttons for the time, and renews them each minute. Once for a section.
export function showPlots(section, cluster, node) {
  document.head.append(element('link', { rel: 'stylesheet', href: new URL('../uplot/uPlot.min.css', import.meta.url).href }));
  const note = element('p', { class: 'soft' });
  const texts = PLOTS.map(() => element('span'));
  const places = PLOTS.map(([title]) => element('div', { role: 'img', class: 'plot', 'aria-label': `${title}: not read yet` }));
  const shown = element('div', { hidden: true }, ...PLOTS.flatMap(([title], index) => [element('h3', {}, title, ' ', texts[index]), places[index]]));
  const plots = [];
  let hours = 1;

  async function read() {
    const asked = hours;
    const { content } = await ask('GET', `${path('cluster', cluster, 'metrics')}?${query({ hours, node })}`);
    if (asked !== hours) return; // another time was chosen meanwhile
    const [values] = content.nodes;
    shown.hidden = !values;
    if (!values) {
      put(note, content.reason ?? '');
      return;
    }
    put(note, PLOTS.every(([, , ...series]) => series.every(([key]) => last(values[key]) === undefined)) ? 'Nothing was measured in this time.' : '');
    PLOTS.forEach(([title, unit, ...series], index) => {
      const text = series.map(([key, label]) => `${label} ${quantity(last(values[key]), unit)}`).join(', ');
      put(texts[index], text);
      places[index].ariaLabel = `${title} in the last ${hours === 1 ? 'hour' : `${hours} hours`}; at its end: ${text}`;
      const data = [content.moments, ...series.map(([key]) => values[key])];
      if (plots[index]) plots[index].setData(data);
      else plots[index] = new UPlot(options(Math.max(260, section.clientWidth - 40), unit, series), data, places[index]);
    });
  }

  const renew = () => attempt(read, (message) => put(note, message));
  const buttons = SPANS.map(([text, span]) => element('button', { type: 'button', 'aria-pressed': String(span === hours), onclick: () => {
    hours = span;
    buttons.forEach((one, index) => one.setAttribute('aria-pressed', String(SPANS[index][1] === hours)));
    renew();
  } }, text));
  section.append(element('div', { class: 'buttons', role: 'group', 'aria-label': 'Time of the plots' }, ...buttons), note, shown);
  section.hidden = false;
  new ResizeObserver(() => plots.forEach((one) => one.setSize({ width: Math.max(260, section.clientWidth - 40), height: HEIGHT }))).observe(section);
  setInterval(renew, RENEWED);
  document.addEventListener('zone', renew);
  return renew();
}
