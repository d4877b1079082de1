// The page of reservations: those of the visitor, and what a week has left of each site.

import { byId, element, fillList, fillTexts, follow, put, say, soon, start, time } from './shared/page.js';
import { Refusal, ask, askerOnce, path } from './shared/requests.js';
import { question } from './shared/question.js';

const DAY = 86_400_000;
const HOUR = 3_600_000;
const MINUTE = 60_000;
const HOURS = 24;
const DAYS = 7;
const PRIVATE_KEY = /PRIVATE KEY|PuTTY-User-Key-File/; // it is not sent
const LIVING = ['waiting', 'starting', 'running', 'stopping'];
/** @type {string[]} */
let rights = [];
let timer = null;
let begin = Math.floor(Date.now() / DAY) * DAY;
begin -= ((new Date(begin).getUTCDay() + 6) % DAYS) * DAY; // a week begins on Monday

const dateOf = (moment) => new Date(moment).toISOString().slice(0, 10);
const dayText = (moment) => `${new Date(moment).toLocaleDateString('en', { weekday: 'short', timeZone: 'UTC' })} ${dateOf(moment)}`;
const utc = (moment) => time(moment, 'UTC'); // as the table and the questions have it

function cancelButton(one) {
  const title = `Cancel reservation ${one.id}`;
  const act = async () => {
    await ask('DELETE', path('reservation', one.id));
    say(`Reservation ${one.id} is cancelled.`);
    readSoon();
  };
  const text = 'All times that are left of it are cancelled. A cluster that runs is shut down, and removed with its disks.';
  const onclick = () => question({ title: `${title}?`, text, action: 'Cancel it', isDestructive: true, act });
  return element('button', { type: 'button', class: 'destructive', onclick, hidden: !rights.includes('computeset'), 'aria-label': title }, 'Cancel');
}

function reserve(site) {
  const day = dateOf(Math.max(begin, Date.now() + DAY));
  const make = askerOnce();
  const number = () => element('input', { type: 'number', min: 1, required: true });
  const moment = (hour) => element('input', { type: 'datetime-local', required: true, value: `${day}T${hour}:00` });
  question({
    title: `Reserve ${site.name}`, text: 'A cluster of your own is created from the image at the start, and removed at the end.', action: 'Reserve',
    fields: [
      { name: 'vc', label: 'Cluster image, as the site calls it', input: element('input', { required: true, maxlength: 40, autocomplete: 'off' }) },
      { name: 'begin', label: 'From, in UTC', input: moment('09') }, { name: 'end', label: 'To, in UTC', input: moment('17') },
      { name: 'cpus', label: 'CPUs of all computes', input: number() }, { name: 'memory_gb', label: 'GB of memory', input: number() },
      { name: 'title', label: 'Title (optional)', input: element('input', { maxlength: 100, autocomplete: 'off' }) },
      { name: 'description', label: 'Description (optional)', input: element('input', { maxlength: 1000, autocomplete: 'off' }) },
      { name: 'public_key', label: 'Your public SSH key, in one line', input: element('input', { required: true, maxlength: 4096, autocomplete: 'off' }) },
    ],
    act: async (values) => {
      if (PRIVATE_KEY.test(values.public_key)) {
        const detail = 'this is a private key, which stays with you; give the line of the file that ends in .pub';
        throw new Refusal(detail, 'Refused', false, [{ pointer: '#/public_key', detail }]);
      }
      const [from, to] = [values.begin, values.end].map((text) => new Date(`${text}Z`).toISOString());
      const body = { ...values, site: site.name, begin: from, end: to, cpus: Number(values.cpus), memory_gb: Number(values.memory_gb) };
      const { content } = await make(path('reservation'), body);
      say(`${site.name} is reserved from ${utc(content.intervals[0].begin)} to ${utc(content.intervals[0].end)}: reservation ${content.id}.`);
      readSoon();
    },
  });
}

async function readMine() {
  const { content } = await ask('GET', path('reservation'));
  const living = content.map((one) => ({ ...one, next: one.intervals.filter(({ state }) => LIVING.includes(state)) })).filter(({ next }) => next.length);
  fillList(byId('mine'), living, (one) => one.id, (row, one, isNew) => {
    if (isNew) row.append(cancelButton(one));
    const [first] = one.next;
    fillTexts(row, [
      ['', `${one.vc} at ${one.site}`], ['', first.state], ['', `${one.cpus} CPUs, ${one.memory_gb} GB`],
      ['', `${utc(first.begin)} to ${utc(first.end)}`], ['soft', one.next.length > 1 ? `and ${one.next.length === 2 ? 'once' : `${one.next.length - 1} times`} more` : ''],
      ['soft', first.address && `${first.cluster}, ${first.address}`], ['', one.title], ['soft', one.description], ['soft', `reservation ${one.id} of ${one.owner}`], ['soft', first.reason],
    ]);
  }, 'No active reservations.');
}

const pastHours = () => Math.floor((Date.now() - begin) / HOUR); // of the week

// A cell for each row of hours that have the same left; nothing is left of those that are over.
function cells(hours, past) {
  const made = [];
  for (const [index, [cpus, memory]] of hours.entries()) {
    const text = index < past ? 'past' : cpus && memory ? `${cpus} CPUs ${memory} GB` : 'full';
    const last = made.at(-1);
    if (last?.textContent === text) last.colSpan += 1;
    else made.push(element('td', { class: ['past', 'full'].includes(text) ? text : null }, text));
  }
  return made;
}

function siteCard(site, index) {
  const head = element('tr', {}, element('th', { scope: 'col' }, 'Day'), ...Array.from({ length: HOURS }, (_, hour) => element('th', { scope: 'col' }, String(hour))));
  const rows = Array.from({ length: DAYS }, (_, day) => element('tr', {}, element('th', { scope: 'row' }, dayText(begin + day * DAY)),
    ...cells(site.left.slice(day * HOURS, (day + 1) * HOURS), pastHours() - day * HOURS)));
  const table = element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows));
  const title = `site-${index}`;
  return element('section', { class: 'card', 'aria-labelledby': title }, element('h2', { id: title }, site.name),
    site.available ? rights.includes('computeset') && element('p', {}, element('button', { type: 'button', onclick: () => reserve(site), 'aria-label': `Reserve ${site.name}` }, 'Reserve'))
      : element('p', { class: 'warn' }, 'It cannot be reserved at present.'),
    element('div', { class: 'week', role: 'group', tabindex: 0, 'aria-labelledby': title }, table));
}

let shown = '';

async function readWeek() {
  const { content } = await ask('GET', `page/reservations/week?begin=${dateOf(begin)}`);
  put(byId('week'), `${dateOf(begin)} to ${dateOf(begin + (DAYS - 1) * DAY)}`);
  const text = JSON.stringify([begin, pastHours(), content]);
  if (text === shown) return; // who reads a table stays where they are
  shown = text;
  byId('sites').replaceChildren(...(content.length ? content.map(siteCard) : [element('p', {}, 'There is no site to reserve.')]));
}

const readSoon = soon(async () => {
  await readMine();
  await readWeek();
});

for (const [id, days] of /** @type {const} */ ([['earlier', -DAYS], ['later', DAYS]])) {
  byId(id).addEventListener('click', () => {
    begin += days * DAY;
    readSoon();
  });
}
start((user, { scopes }) => {
  rights = scopes;
  follow([], readSoon);
  timer ??= setInterval(readSoon, MINUTE);
});
