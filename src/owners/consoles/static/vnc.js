import RFB from '../novnc/core/rfb.js';
import { keepConnected, show } from './console.js';

const place = document.getElementById('console');
const keys = /** @type {HTMLButtonElement} */ (document.getElementById('keys'));
let screen = null;

keepConnected((socket) => {
  place.replaceChildren();
  screen = new RFB(place, socket);
  screen.scaleViewport = true;
  screen.addEventListener('connect', () => {
    keys.disabled = false;
    show('connected');
    screen.focus();
  });
  socket.addEventListener('close', () => { keys.disabled = true; });
});
keys.addEventListener('click', () => {
  screen.sendCtrlAltDel();
  screen.focus();
});
