// What both kinds of consoles share: which node it is, tickets, its connection until it may not be, and the full screen.
// A ticket is the last part of the path, and opens one connection; who is signed in here gets further ones by itself.

import { ask, base, path, Refusal, SignedOut } from '../shared/requests.js';

const byId = (id) => document.getElementById(id);
const REVOKED = 4001;
const TOO_LONG = 4002;
const AGAIN = 3000;
const WAITS = 'Waiting';
const [kind, firstTicket] = location.pathname.split('/').slice(-2);
const { cluster, node, kind: role } = document.documentElement.dataset; // of the ticket, as the service says
const isCompute = role === 'compute';

export function show(text) {
  if (byId('status').textContent !== text) byId('status').textContent = text;
}

function socketOf(ticket) {
  const address = new URL(`ws/console/${ticket}`, base);
  address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
  return new WebSocket(address, ['binary']);
}

// A refused ticket is a row of the audit log, which records only so many of a user in a day: none is asked for while the node is off.
async function newTicket() {
  const own = ['cluster', cluster, ...(isCompute ? ['compute', node] : ['frontend'])];
  const { power } = (await ask('GET', path(...own))).content;
  if (!['on', 'paused'].includes(power)) throw new Refusal(`The power of ${node} is ${power}. The console opens when it is on.`, WAITS);
  return (await ask('POST', path(...own, 'console'), { type: kind })).content.ticket;
}

// `begin(socket)` shows what comes from the connection, and says when it is there. Never two at a time.
export function keepConnected(begin) {
  const again = byId('again');

  function connect(ticket) {
    const socket = socketOf(ticket);
    const begun = Date.now();
    socket.addEventListener('close', (event) => {
      if (event.code === REVOKED) end('The right to this console has ended.');
      else if (event.code === TOO_LONG) end('The longest time of a session is over.');
      else if (!node) end('The connection has ended. Open the console again.');
      else {
        show('The connection was lost; connecting again …');
        setTimeout(reconnect, Date.now() - begun < AGAIN ? AGAIN : 500); // a console that ends at once is not opened without pause
      }
    });
    begin(socket);
  }

  function end(text) {
    show(text);
    again.hidden = !node;
  }

  async function reconnect() {
    again.hidden = true;
    try {
      connect(await newTicket());
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error instanceof SignedOut) return end('The connection has ended. Sign in to Nucleus in this browser, or open the console again.');
      if ([403, 404].includes(error.status)) return end(`${error.message}.`);
      show(error.word === WAITS ? error.message : `Trying again: ${error.message}`);
      setTimeout(reconnect, AGAIN);
    }
  }

  again.addEventListener('click', reconnect);
  connect(firstTicket);
}

const full = byId('full');
full.hidden = !document.fullscreenEnabled;
full.addEventListener('click', () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()));
document.addEventListener('fullscreenchange', () => {
  full.textContent = document.fullscreenElement ? 'Leave full screen' : 'Full screen';
});
if (node) {
  const text = `${kind === 'vnc' ? 'Screen' : 'Serial console'} of ${node}${isCompute ? `, ${cluster}` : ''}`;
  document.title = text;
  byId('title').textContent = text;
  byId('console').setAttribute('aria-label', text);
}
