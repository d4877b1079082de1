import RFB from './novnc/core/rfb.js';
import { reasonOf, show, socketAddress } from './console-socket.js';

const place = document.getElementById('console');
const keys = document.getElementById('keys');
const socket = new WebSocket(socketAddress(), ['binary']);
let wasOpen = false;

socket.addEventListener('close', (event) => {
  keys.disabled = true;
  show(reasonOf(event.code, wasOpen));
});

const screen = new RFB(place, socket);
screen.scaleViewport = true;
screen.addEventListener('connect', () => {
  wasOpen = true;
  keys.disabled = false;
  show('connected');
  screen.focus();
});
screen.addEventListener('desktopname', (event) => {
  document.title = event.detail.name;
});
keys.addEventListener('click', () => {
  screen.sendCtrlAltDel();
  screen.focus();
});
