// What all pages share: elements, signing in and out, messages, and events as they happen.
// Texts of others become text nodes only; the policy of the page (Trusted Types) refuses anything else.

import { ask, AWAY, base, onSignedOut, path, Refusal, service, SignedOut } from './requests.js';

const PAGES = [['clusters', 'Clusters'], ['computesets', 'Computesets'], ['reservations', 'Reservations'], ['images', 'Images'], ['history', 'History'], ['tokens', 'Tokens'], ['site', 'Site']];
/** @typedef {string | number | Date} Moment what Date takes */

/** @type {<K extends keyof Ids>(id: K) => Ids[K]} */
export const byId = (id) => /** @type {any} */ (document.getElementById(id));

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Record<string, any>} [attributes]
 * @param {(Node | string | null | false)[]} children
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, '');
    else if (value !== false && value !== null) made.setAttribute(key, value);
  }
  for (const one of children) if (one !== null && one !== '' && one !== false) made.append(one);
  return made;
}

// Puts the text where it differs: what has the focus, and what a screen reader reads, stays as it is.
/** @param {Node} place @param {string} text */
export function put(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

// The rows of a list by their keys: those that stay keep their elements. `fill` gets (element, entry, isNew).
/**
 * @template T
 * @param {HTMLElement} list
 * @param {T[]} entries
 * @param {(entry: T) => string | number} keyOf
 * @param {(row: HTMLLIElement, entry: T, isNew: boolean) => void} fill
 * @param {string} nothing
 */
export function fillList(list, entries, keyOf, fill, nothing) {
  const before = new Map([...list.querySelectorAll('li')].map((one) => [one.dataset.key, one]));
  const rows = entries.map((entry) => {
    const key = String(keyOf(entry));
    const row = before.get(key) ?? element('li', { 'data-key': key });
    fill(row, entry, !before.has(key));
    return row;
  });
  if (!rows.length) rows.push(element('li', { class: 'nothing' }, nothing));
  if (rows.length !== list.children.length || rows.some((row, index) => row !== list.children[index])) {
    const focused = /** @type {HTMLElement} */ (document.activeElement);
    list.replaceChildren(...rows);
    if (focused !== document.activeElement && focused.isConnected) focused.focus();
  }
}

// A row of texts: [class, text, moment] each; with a moment the text goes on with how long ago that is. Buttons at its end stay.
/** @param {HTMLElement} row @param {[string, string, Moment?][]} texts */
export function fillTexts(row, texts) {
  const spans = () => [...(/** @type {NodeListOf<HTMLElement>} */ (row.querySelectorAll(':scope > span')))];
  const places = spans();
  if (places.length !== texts.length) {
    places.forEach((one) => one.remove());
    row.prepend(...texts.map(() => element('span')));
  }
  spans().forEach((place, index) => {
    const [name, text, moment] = texts[index];
    place.className = name;
    place.hidden = !text && !moment;
    putMoment(place, text ?? '', moment);
  });
}

// The zone of times: the site's, as its operators read them, or by choice that of the browser, which remembers the choice.
const SITE_ZONE = document.documentElement.dataset.zone;
const OWN_ZONE = new Intl.DateTimeFormat().resolvedOptions().timeZone;
export const zone = () => (byId('zone').ariaPressed === 'true' ? OWN_ZONE : SITE_ZONE);

// Such as 2026-11-29 14:30 UTC, whatever the browser's language.
/** @type {Intl.DateTimeFormatOptions} */
const FORM = { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit' };
/** @param {Moment} moment @param {string} [timeZone] */
export const time = (moment, timeZone = zone()) => (moment ? new Date(moment).toLocaleString('sv-SE', { ...FORM, timeZoneName: 'short', timeZone }) : 'never');

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const SPANS = [['year', 31_536_000], ['month', 2_592_000], ['day', 86_400], ['hour', 3600], ['minute', 60]];
const RELATIVE = new Intl.RelativeTimeFormat('en');

// Such as `3 minutes ago` or `in 2 hours`, by the clock of the service.
/** @param {Moment} moment */
export function ago(moment) {
  const seconds = (new Date(moment).getTime() - service.now()) / 1000;
  const [unit, length] = SPANS.find(([, each]) => Math.abs(seconds) >= each) ?? [];
  return unit ? RELATIVE.format(Math.trunc(seconds / length), unit) : 'just now';
}

// On hover: the moment itself, after what else is to be read there.
const showMoment = (place) => { place.title = [place.dataset.about, time(place.dataset.moment)].filter(Boolean).join(', '); };

// The text, and after it how long ago the moment is: it is renewed as time passes.
/** @param {HTMLElement} place @param {string} text @param {Moment | null} [moment] @param {string} [about] */
export function putMoment(place, text, moment, about = '') {
  if (moment) {
    Object.assign(place.dataset, { text, moment, about });
    showMoment(place);
  } else {
    delete place.dataset.moment;
    if (place.title) place.removeAttribute('title');
  }
  put(place, moment ? `${text} ${ago(moment)}`.trim() : text);
}

/** @returns {NodeListOf<HTMLElement>} */
const momentPlaces = () => document.querySelectorAll('[data-moment]');

setInterval(() => {
  for (const one of momentPlaces()) put(one, `${one.dataset.text} ${ago(one.dataset.moment)}`.trim());
}, 20_000);

function offerZone() {
  const button = byId('zone');
  const press = (isOwn) => button.setAttribute('aria-pressed', String(isOwn));
  button.hidden = time(Date.now(), OWN_ZONE) === time(Date.now(), SITE_ZONE); // a zone has several names
  button.title = `Times of ${OWN_ZONE} instead of ${SITE_ZONE}`;
  press(localStorage.getItem('zone') === 'own');
  button.addEventListener('click', () => {
    press(zone() === SITE_ZONE);
    localStorage.setItem('zone', zone() === OWN_ZONE ? 'own' : 'site');
    momentPlaces().forEach(showMoment);
    document.dispatchEvent(new Event('zone'));
    readAgain(); // for times within texts
  });
}

// The meaning of a term appears on hover of a heading or label that has it; the list of all is at the end of the page.
function explainTerms() {
  const meanings = [...document.querySelectorAll('#terms dt')].flatMap((one) => one.textContent.split(', ').map((term) => [term, `${one.textContent}: ${one.nextElementSibling.textContent}`]));
  const tests = meanings.sort(([one], [other]) => other.length - one.length).map(([term, meaning]) => ({ test: new RegExp(`\\b${term}s?\\b`, 'i'), meaning }));
  document.addEventListener('mouseover', ({ target }) => {
    if (!(target instanceof HTMLElement) || !target.matches('h2, h3, dt, label, legend, thead button')) return;
    target.title = tests.find(({ test }) => test.test(target.textContent))?.meaning ?? '';
  });
}

const AGAIN = 5000;
const SILENCE = 7000; // the service sends an event each 3 seconds
const PATIENCE = 3000; // a stream that breaks off and is there again is no news

// One line at the end of the page, until the next one or until it is closed. `word` says that something is wrong.
export function say(text, word = '') {
  const line = byId('message');
  line.className = word ? 'error' : '';
  line.dataset.word = word;
  line.textContent = word ? `${word}: ${text}` : text;
  byId('close-message').hidden = !text;
}

// The first of them, and how many more there are: the line is no place for hundreds.
/** @param {string[]} texts @param {number} [most] */
export function some(texts, most = 5) {
  return texts.length <= most ? texts.join(', ') : `${texts.slice(0, most).join(', ')} and ${texts.length - most} more`;
}

// Runs what a person asked for; what is refused is reported, in the line at the end of the page by default, and returned.
/** @param {() => any} act @param {(text: string, word: string) => any} [report] @returns {Promise<Refusal | null>} */
export async function attempt(act, report = say) {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (!(error instanceof SignedOut)) report(error.message, error.word);
    return error;
  }
  return null;
}

// As attempt, of a form: what is wrong with a value stands beside its field, whose name is that of the request.
/** @param {HTMLFormElement} form @param {() => any} act @param {(text: string, word: string) => any} [report] */
export async function attemptForm(form, act, report = say) {
  report('', ''); // what was wrong before is not any more
  for (const one of form.querySelectorAll('.wrong')) one.remove();
  for (const one of form.querySelectorAll('[aria-invalid]')) one.removeAttribute('aria-invalid');
  const error = await attempt(act, report);
  for (const { pointer, detail } of error?.errors ?? []) {
    const field = form.elements[pointer.replace('#/query/', '#/').split('/')[1]];
    if (!(field instanceof HTMLElement) || field.ariaInvalid) continue;
    const id = `${field.id}-wrong`;
    field.after(element('span', { id, class: 'wrong bad' }, detail));
    report('', ''); // it is beside its field
    field.setAttribute('aria-invalid', 'true');
    field.setAttribute('aria-describedby', id);
  }
  /** @type {HTMLElement} */ (form.querySelector('[aria-invalid]'))?.focus();
  return error;
}

let events = null;
/** @type {(user: Rest.User, rights: {scopes: string[], is_operator: boolean, token: string | null}) => any} */
let begin = () => {};
let readAgain = () => {};
let timer = null;
let silence = null;
let visitor = null;
let absence = null;

// While the service is away, what the page shows is old: it says how old, and no state looks as if it were that of now.
function setAway(isAway) {
  put(byId('live'), isAway ? 'connection lost; trying again' : 'live');
  if (!isAway) clearTimeout(absence);
  else if (absence && !byId('content').hidden) return;
  absence = isAway && !byId('content').hidden ? setTimeout(() => {
    const at = service.answeredAt && new Date(service.answeredAt).toISOString();
    putMoment(byId('age'), 'The service does not answer. This page shows its last answer, from', at);
    byId('age').hidden = !at;
    document.body.classList.add('away');
  }, PATIENCE) : null;
  if (isAway) return;
  byId('age').hidden = true;
  document.body.classList.remove('away');
}

async function showSignIn() {
  document.querySelector('dialog')?.close(); // it would cover the form
  events?.close();
  clearTimeout(timer);
  clearTimeout(silence);
  if (!byId('content').hidden) say('Your session has ended. Sign in again.');
  byId('content').hidden = true;
  byId('sign-out').hidden = true;
  put(byId('who'), '');
  setAway(false);
  put(byId('live'), '');
  if (byId('sign-in')) return;
  const name = element('input', { id: 'username', autocomplete: 'username', maxlength: 128 });
  const secret = element('input', { id: 'password', type: 'password', autocomplete: 'current-password', required: true, maxlength: 1024 });
  const form = element('form', { id: 'sign-in', class: 'card', 'aria-labelledby': 'sign-in-title', onsubmit: async (event) => {
    event.preventDefault();
    const error = await attempt(async () => {
      await ask('POST', 'session', { username: name.value.trim(), password: secret.value });
      form.remove();
      say('');
      await connect();
      byId('main').focus();
    });
    if (error?.status === 401) say(`${error.message}. Enter all of it once more; if it has ended, ask the operators of your site for another.`, error.word);
  } }, element('h2', { id: 'sign-in-title' }, 'Sign in'));
  byId('main').append(form);
  const { content } = await ask('GET', 'session').catch(() => ({ content: {} }));
  if (content?.provider) form.append(element('a', { href: new URL('session/provider', base).href }, 'Sign in with the account of your site'));
  if (content?.password) form.append(element('label', { for: 'username' }, 'User name (not with a token)'), name);
  form.append(
    element('label', { for: 'password' }, content?.password ? 'Password or token' : 'Token'), secret,
    element('button', {}, 'Sign in'),
    element('p', {}, 'A token begins with nuc_. The operators of your site give you the first one, and another when it has ended; the page Tokens creates more.'),
  );
  (content?.password ? name : secret).focus();
}

async function identify() {
  const { content: user } = await ask('GET', path('user'));
  const { content: rights } = await ask('GET', 'session/rights');
  const found = JSON.stringify([user.username, rights]);
  if (visitor !== null && visitor !== found) return location.reload(); // nothing of one visitor is left for another
  visitor = found;
  put(byId('who'), user.username);
  byId('sign-out').hidden = false;
  for (const one of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-operator]'))) one.hidden = !rights.is_operator;
  byId('content').hidden = false;
  offerReservations();
  await begin(user, rights);
}

// The menu has reservations where there is something to reserve.
async function offerReservations() {
  const { content } = await ask('GET', path('reservation', 'site')).catch(() => ({ content: [] })); // a site may lack the part
  if (content.length) document.querySelector('nav [href=reservations]').removeAttribute('hidden');
}

// Shows what is there. While the service does not answer, it tries again and again.
async function connect() {
  clearTimeout(timer);
  const error = await attempt(identify);
  if (!error?.isPassing) return;
  setAway(true);
  timer = setTimeout(connect, AGAIN);
}

// Calls show(user, rights) when somebody has signed in, now or later.
/** @param {typeof begin} show */
export function start(show) {
  begin = show;
  onSignedOut(showSignIn);
  const present = location.pathname.split('/').at(-1).replace('node', 'cluster');
  document.querySelector('nav').replaceChildren(...PAGES.map(([name, text]) => element('a',
    { href: name, 'data-operator': name === 'site', hidden: ['site', 'reservations'].includes(name) && name !== present, 'aria-current': name.startsWith(present) && (name === present ? 'page' : 'true') }, text)));
  offerZone();
  explainTerms();
  const bar = byId('bar'); // what is at the end of the page is above it
  new ResizeObserver(() => document.documentElement.style.setProperty('--bar', `${bar.offsetHeight}px`)).observe(bar);
  byId('close-message').addEventListener('click', () => {
    say('');
    byId('main').focus();
  });
  byId('sign-out').addEventListener('click', () => attempt(async () => {
    await ask('DELETE', 'session');
    location.reload();
  }));
  connect();
}

// Calls changed(type, data) for each event, and changed('all', {}) whenever events may have been missed.
/** @param {string[]} types @param {(type: string, data: any) => any} changed */
export function follow(types, changed) {
  events?.close();
  readAgain = () => changed('all', {});
  events = new EventSource(new URL('v1/events', base));
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => { // a service that hangs, or a connection that is gone, is no error of the stream
      events.close();
      setAway(true);
      connect();
    }, SILENCE);
  };
  heard();
  for (const type of ['open', 'alive', ...types]) events.addEventListener(type, heard);
  for (const type of types) events.addEventListener(type, (event) => changed(type, JSON.parse(event.data)));
  events.addEventListener('lost', () => changed('all', {}));
  events.addEventListener('open', () => {
    setAway(false);
    if (byId('message').dataset.word === AWAY) say('');
    changed('all', {});
  });
  events.addEventListener('error', () => {
    if (byId('sign-in')) return;
    setAway(true);
    if (events.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    clearTimeout(silence);
    clearTimeout(timer);
    timer = setTimeout(connect, AGAIN);
  });
}

// Runs `act` soon, once for all that ask for it meanwhile; never two at a time. What the service could not do, later again.
export function soon(act, milliseconds = 250) {
  let waiting = null;
  let isBusy = false;
  let isAgain = false;
  return function run() {
    if (isBusy) isAgain = true;
    else waiting ??= setTimeout(async () => {
      isBusy = true;
      waiting = null;
      try {
        if ((await attempt(act))?.isPassing) setTimeout(run, AGAIN);
      } finally {
        isBusy = false;
        if (isAgain) run();
        isAgain = false;
      }
    }, milliseconds);
  };
}
