// An image on its way to the service; one that breaks off begins again.

import { answered, AWAY, base, path, Refusal } from './shared/requests.js';

const DESCRIPTOR = 0x8000; // of ISO 9660
const NAME = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\.iso$/;

// Refusal of what the service would refuse: its content only when all has arrived.
async function check(file) {
  const start = await file.slice(DESCRIPTOR, DESCRIPTOR + 130).arrayBuffer();
  const isIso = new TextDecoder('latin1').decode(start.slice(1, 6)) === 'CD001';
  const descriptor = new DataView(start);
  const stated = start.byteLength === 130 ? descriptor.getUint32(80, true) * descriptor.getUint16(128, true) : 0;
  const wrong = !file.size ? `${file.name} is empty`
    : !isIso ? `${file.name} is no ISO image; nothing was sent`
      : file.size < stated ? `${file.name} is cut off: it states ${stated} bytes and has ${file.size}; nothing was sent; get it again`
        : !NAME.test(file.name) ? 'Rename the file: its name must have letters, digits and . _ + - only, and end with .iso' : '';
  if (wrong) throw new Refusal(wrong, 'Refused', false, [{ pointer: '#/name', detail: wrong }]);
}

export class Upload {
  // `moved(bytes)` is called when so many are sent.
  /** @param {File} file @param {string} project @param {(bytes: number) => void} moved */
  constructor(file, project, moved) {
    this.file = file;
    this.project = project;
    this.moved = moved;
    this.isCancelled = false;
    this.request = new XMLHttpRequest(); // fetch says nothing about what is sent
  }

  async run() {
    await check(this.file);
    if (this.isCancelled) return;
    const query = new URLSearchParams({ name: this.file.name, ...(this.project && { project: this.project }) });
    this.request.open('POST', new URL(`${path('image')}?${query}`, base));
    this.request.setRequestHeader('Accept', 'application/json, application/problem+json');
    this.request.setRequestHeader('Prefer', 'respond-async');
    this.request.setRequestHeader('Content-Type', 'application/octet-stream');
    this.request.upload.onprogress = ({ loaded }) => this.moved(loaded);
    await new Promise((done) => {
      this.request.onloadend = done;
      this.request.send(this.file);
    });
    if (this.isCancelled) return;
    const { status, response } = this.request;
    if (!status) throw new Refusal('The connection broke off. Upload the image again.', AWAY, true);
    await answered(new Response(response || null, { status })).catch((error) => {
      if (!error.isPassing && !error.errors.length) error.errors = [{ pointer: '#/name', detail: error.message }]; // its name is taken, or it is too much
      throw error;
    });
  }

  cancel() {
    this.isCancelled = true;
    this.request.abort();
  }
}
