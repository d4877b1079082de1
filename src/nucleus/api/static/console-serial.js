import { Terminal } from './xterm/xterm.mjs';
import { FitAddon } from './xterm/addon-fit.mjs';
import { reasonOf, show, socketAddress } from './console-socket.js';

const terminal = new Terminal({ cursorBlink: true, scrollback: 5000, screenReaderMode: true });
const fit = new FitAddon();
terminal.loadAddon(fit);
terminal.open(document.getElementById('console'));
fit.fit();
addEventListener('resize', () => fit.fit());

const socket = new WebSocket(socketAddress(), ['binary']);
socket.binaryType = 'arraybuffer';
let wasOpen = false;

socket.addEventListener('open', () => {
  wasOpen = true;
  show('connected');
  terminal.focus();
});
socket.addEventListener('message', (event) => terminal.write(new Uint8Array(event.data)));
socket.addEventListener('close', (event) => show(reasonOf(event.code, wasOpen)));

const text = new TextEncoder();
terminal.onData((data) => {
  if (socket.readyState === WebSocket.OPEN) socket.send(text.encode(data));
});
