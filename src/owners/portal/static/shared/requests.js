// Requests of the service, in the name of who has signed in.

export const base = new URL('../../', import.meta.url);
export const AWAY = 'No answer';
// What helps, by the code of the service's remedy: its own words are for programs.
const REMEDIES = {
  acknowledge: () => 'read it on the page Clusters, and acknowledge it there',
  'list-tokens': () => 'the page Tokens has them',
  'list-operations': () => 'the page History has them',
  'get-scope': ({ scope }) => `sign in with a token that has the scope ${scope}`,
  'ask-for-scope': ({ scope }) => `ask the site's operators for a token that has the scope ${scope}, and sign in with it`,
  'eject-image': () => 'take it out first: choose the node on the page of its cluster, and press CD drive; a machine that is on keeps it until it is off',
};
let whenSignedOut = () => {};

// When the service last answered, in milliseconds, and its clock: that of the browser may be an hour off.
export const service = { answeredAt: 0, ahead: 0, now: () => Date.now() + service.ahead };

// What was not done: `word` begins the line that reports it; what `isPassing` is tried again.
// `errors`: of each value that is wrong.
export class Refusal extends Error {
  /** @param {{pointer: string, detail: string}[]} errors */
  constructor(message, word = 'Refused', isPassing = false, errors = []) {
    super(message);
    this.word = word;
    this.isPassing = isPassing;
    this.errors = errors;
    /** @type {number | undefined} of the answer, when there was one */
    this.status = undefined;
    /** @type {number | undefined} after which it may be asked again, of 429 */
    this.seconds = undefined;
  }
}

// Nobody is signed in any more.
export class SignedOut extends Refusal {
  constructor() {
    super('You are not signed in.');
  }
}

// Calls `act` when nobody is signed in any more.
export function onSignedOut(act) {
  whenSignedOut = act;
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

// A Refusal with the text of the service for anything but success. `next`: the path of the next page.
/** @returns {Promise<{content: any, next: string | null, etag: string | null}>} */
export async function send(method, path, body = undefined, more = {}) {
  /** @type {Record<string, string>} */
  const headers = { Accept: 'application/vnd.nucleus.v1+json, application/json, application/problem+json', ...more };
  if (method !== 'GET') headers.Prefer = 'respond-async';
  const answer = await fetch(new URL(path, base), { method, headers, body }).catch(() => {
    throw new Refusal('The service does not answer. Are you connected?', AWAY, true);
  });
  return answered(answer, path !== 'session');
}

// As send, for an answer that has already come.
export async function answered(answer, isSignedIn = true) {
  const content = await answer.json().catch(() => null);
  if (answer.status === 401 && isSignedIn) {
    whenSignedOut();
    throw new SignedOut();
  }
  const sent = new Date(answer.headers.get('Date') ?? Number.NaN).getTime();
  if (sent) service.ahead = Math.abs(sent - Date.now()) > 60_000 ? sent - Date.now() : 0;
  if (answer.status < 500) service.answeredAt = service.now();
  if (answer.status >= 502 && !content?.detail) throw new Refusal(`The service does not answer (${answer.status}).`, AWAY, true);
  if (!answer.ok) {
    const isPassing = answer.status >= 500 || answer.status === 429;
    const remedy = REMEDIES[content?.remedy?.code]?.(content.remedy);
    const detail = remedy ? `${content.reason}; ${remedy}` : content?.detail;
    const refusal = new Refusal(detail ?? `The service answered ${answer.status}.`, 'Refused', isPassing, content?.errors);
    refusal.status = answer.status;
    if (answer.status === 429) refusal.seconds = Number(answer.headers.get('Retry-After')) || 1;
    throw refusal;
  }
  const next = answer.headers.get('Link')?.match(/<[^>]*?(v1\/[^>]*)>; rel="next"/)?.[1] ?? null;
  return { content, next, etag: answer.headers.get('ETag') };
}

// As send, of what becomes JSON. `etag`: of the state that a change is meant for; the service refuses it with 412 in any other.
/**
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @param {string} [etag]
 */
export async function ask(method, path, body, etag) {
  const headers = etag ? { 'If-Match': etag } : {};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  return send(method, path, body && JSON.stringify(body), headers);
}

// Asks for a new thing, as often as it is pressed: the service makes one, also where its answer was lost. A refusal is an answer.
export function askerOnce() {
  const keys = new Map();
  return async (path, body) => {
    const text = JSON.stringify(body);
    if (!keys.has(text)) keys.set(text, crypto.getRandomValues(new Uint32Array(4)).join('-'));
    try {
      return await send('POST', path, text, { 'Content-Type': 'application/json', 'Idempotency-Key': keys.get(text) });
    } catch (error) {
      if (!error.isPassing) keys.delete(text);
      throw error;
    }
  };
}

// As ask, of many changes in a row: waits when the service has had too many in a second.
/** @param {Parameters<typeof ask>} request */
export async function askOfMany(...request) {
  for (let attempts = 1; ; attempts += 1) {
    try {
      return await ask(...request);
    } catch (error) {
      if (!(error.seconds <= 5) || attempts === 10) throw error;
      await pause(error.seconds);
    }
  }
}

/** @param {(string | number)[]} parts */
export const path = (...parts) => ['v1', ...parts.map(encodeURIComponent)].join('/');

// What is asked, as an address has it.
/** @param {Record<string, string | number>} values */
export const query = (values) => new URLSearchParams(Object.entries(values).map(([key, value]) => [key, String(value)]));
