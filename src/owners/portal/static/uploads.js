// An image on its way to the service, in parts; after a break it goes on where it was.

import { ask, path, Refusal, send } from './shared/requests.js';

const PART = 8 * 2 ** 20;
const AGAIN = 3000;
const ATTEMPTS = 100; // in a row without a part that arrived

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

// The name under which this browser remembers an upload of the file.
const memory = (file, project) => `upload ${project} ${file.name} ${file.size} ${file.lastModified}`;

export class Upload {
  // `moved(bytes)` is called when so many have arrived, `waits(text)` when the service does not answer.
  constructor(file, project, moved, waits) {
    Object.assign(this, { file, project, moved, waits, isCancelled: false, id: null });
  }

  async run() {
    await check(this.file);
    const offset = (await this.resume()) ?? (await this.create());
    await this.sendFrom(offset);
    localStorage.removeItem(memory(this.file, this.project));
  }

  // Where an earlier upload of this file goes on; null when there is none.
  async resume() {
    this.id = localStorage.getItem(memory(this.file, this.project));
    if (!this.id) return null;
    try {
      return await this.offset();
    } catch (error) {
      if (error.status !== 404) throw error;
      return null;
    }
  }

  async offset() {
    return (await ask('GET', path('image', 'upload', this.id))).content.offset;
  }

  async create() {
    const body = { name: this.file.name, size: this.file.size, ...(this.project && { project: this.project }) };
    const { content } = await ask('POST', path('image', 'upload'), body).catch((error) => {
      if (!error.isPassing && !error.errors.length) error.errors = [{ pointer: '#/name', detail: error.message }]; // its name is taken, or it is too much
      throw error;
    });
    this.id = content.id;
    localStorage.setItem(memory(this.file, this.project), this.id);
    return 0;
  }

  async sendFrom(begin) {
    let offset = begin;
    for (let failures = 0, isWhole = false; !isWhole && !this.isCancelled;) {
      this.moved(offset);
      const end = Math.min(offset + PART, this.file.size);
      try {
        await send('PATCH', path('image', 'upload', this.id), this.file.slice(offset, end), { 'Upload-Offset': offset });
        [offset, failures, isWhole] = [end, 0, end === this.file.size];
      } catch (error) {
        failures += 1;
        if (this.isCancelled) return;
        if ((error.status !== 409 && !error.isPassing) || failures > ATTEMPTS) throw error; // 409: another tab may send it
        this.waits(error.message);
        await new Promise((done) => setTimeout(done, AGAIN));
        offset = await this.offset().catch((reason) => {
          if (reason.isPassing) return offset;
          throw reason;
        });
      }
    }
    if (!this.isCancelled) this.moved(offset);
  }

  async cancel() {
    this.isCancelled = true;
    if (this.id) await ask('DELETE', path('image', 'upload', this.id));
    localStorage.removeItem(memory(this.file, this.project));
  }
}
