import { Terminal } from '../xterm/xterm.mjs';
import { FitAddon } from '../xterm/addon-fit.mjs';
import { keepConnected, show } from './console.js';

const terminal = new Terminal({ cursorBlink: true, scrollback: 5000, screenReaderMode: true });
const fit = new FitAddon();
const text = new TextEncoder();
let connection = null;

terminal.loadAddon(fit);
terminal.open(document.getElementById('console'));
fit.fit();
addEventListener('resize', () => fit.fit());
terminal.onData((data) => {
  if (connection?.readyState === WebSocket.OPEN) connection.send(text.encode(data));
});
keepConnected((socket) => {
  connection = socket;
  socket.binaryType = 'arraybuffer';
  socket.addEventListener('open', () => {
    show('connected');
    terminal.focus();
  });
  socket.addEventListener('message', (event) => terminal.write(new Uint8Array(event.data)));
});
