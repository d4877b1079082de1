// The page of images: the list, one that is uploaded here, and deleting.

import { attemptForm, byId, element, fillList, fillTexts, follow, put, say, soon, start } from './shared/page.js';
import { ask, path } from './shared/requests.js';
import { question } from './shared/question.js';
import { Upload } from './uploads.js';

/** @type {[string, number][]} */
const UNITS = [['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 2 ** 10]];
let mayChange = false;
/** @type {Upload | null} */
let upload = null;

function size(bytes) {
  const [unit, length] = UNITS.find(([, each]) => bytes >= each) ?? ['B', 1];
  return `${(bytes / length).toLocaleString([], { maximumFractionDigits: 1 })} ${unit}`;
}

function remove(one) {
  question({ title: `Delete the image ${one.name}?`, text: 'It cannot be restored.', action: 'Delete', isDestructive: true, act: async () => {
    await ask('DELETE', path('image', ...one.name.split('/')));
    say(`${one.name} will be deleted.`);
    await read();
  } });
}

async function read() {
  const { content } = await ask('GET', path('image'));
  fillList(byId('images'), content, (one) => one.name, (row, one, isNew) => {
    if (isNew) row.append(element('button', { type: 'button', class: 'destructive', onclick: () => remove(one), 'aria-label': `Delete ${one.name}` }, 'Delete'));
    row.querySelector('button').hidden = !mayChange || one.state !== 'ready';
    fillTexts(row, [
      ['', one.name], [one.state === 'ready' ? '' : 'warn', one.state], ['soft', size(one.size)],
      ['soft', one.in_use ? `in the drive of ${one.in_use} node${one.in_use === 1 ? '' : 's'}` : ''], ['soft', one.uploaded_by && `by ${one.uploaded_by}`], ['soft', '', one.created],
      ['soft', one.sha256 && `SHA-256 ${one.sha256}`],
    ]);
  }, 'There are none.');
}

function moved(bytes) {
  byId('progress').value = bytes / upload.file.size;
  put(byId('progress-text'), ` ${size(bytes)} of ${size(upload.file.size)}`);
}

function setBusy(isBusy) {
  byId('progress-part').hidden = !isBusy;
  byId('cancel').hidden = !isBusy;
  byId('upload').querySelector('button').disabled = isBusy;
}

byId('upload').addEventListener('submit', async (event) => {
  event.preventDefault();
  const form = byId('upload');
  upload = new Upload(byId('name').files[0], byId('project').value, moved);
  setBusy(true);
  await attemptForm(form, async () => {
    await upload.run();
    if (upload.isCancelled) return;
    say(`${upload.file.name} has arrived.`);
    form.reset();
  });
  setBusy(false);
  readSoon();
});
byId('cancel').addEventListener('click', () => question({
  title: 'Cancel the upload?', text: 'What has arrived is removed.', action: 'Cancel the upload', isDestructive: true, act: async () => {
    upload.cancel();
    say(`The upload of ${upload.file.name} is cancelled.`);
  },
}));

const readSoon = soon(read);
start((user, { scopes, is_operator: isOperator }) => {
  mayChange = scopes.includes('image');
  byId('upload').hidden = !mayChange;
  const projects = user.projects.map((one) => [one, `project ${one}`]);
  byId('project').replaceChildren(...[...projects, ...(isOperator ? [['', 'everybody']] : [])].map(([value, text]) => element('option', { value }, text)));
  follow(['image.added', 'image.removed'], readSoon);
});
