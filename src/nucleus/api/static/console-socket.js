// The WebSocket of this page's ticket, which is the last part of its address, and what its end means.

const ticket = location.pathname.split('/').pop();

export function socketAddress() {
  const address = new URL(`../../ws/console/${ticket}`, location.href);
  address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
  return address.href;
}

export function show(text) {
  document.getElementById('status').textContent = text;
}

export function reasonOf(code, wasOpen) {
  if (!wasOpen) return 'No connection: a ticket opens one console, once, within 30 seconds. Open the console again.';
  if (code === 4001) return 'Closed: the right to this console has ended.';
  if (code === 4002) return 'Closed: the longest time of a session is over. Open the console again.';
  return 'Closed: the node has stopped, or the connection was lost. Open the console again.';
}
