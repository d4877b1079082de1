// The page of tokens: create one, whose secret is visible once; revoke those that nothing uses.

import { attemptForm, byId, element, fillList, fillTexts, follow, put, say, soon, start, time } from './shared/page.js';
import { ask, path } from './shared/requests.js';
import { question } from './shared/question.js';

const SCOPES = {
  power: 'power of nodes', computeset: 'computesets', console: 'consoles', image: 'images and CD drives', rename: 'rename nodes',
  'cluster:reinstall': 'fresh disks of nodes', 'cluster:destroy': 'remove clusters and nodes', admin: 'everything of an operator',
};
const EVERY_DAY = ['power', 'computeset', 'console', 'image', 'rename'];
let session = null; // the token of this session

function revoke(one) {
  const text = one.id === session ? 'It is the token of this session: you will be signed out.' : 'What uses it is refused from now on.';
  question({ title: `Revoke the token ${one.note || one.id}?`, text, action: 'Revoke', isDestructive: true, act: async () => {
    await ask('DELETE', path('token', one.id));
    say(`The token ${one.note || one.id} is revoked.`);
    await read();
  } });
}

async function read() {
  const { content } = await ask('GET', path('token'));
  const now = new Date();
  const usable = content.filter((one) => !one.revoked_at && (!one.expires || new Date(one.expires) > now)).reverse();
  fillList(byId('tokens'), usable, (one) => one.id, (row, one, isNew) => {
    if (isNew) row.append(element('button', { type: 'button', class: 'destructive', onclick: () => revoke(one), 'aria-label': `Revoke ${one.note || one.id}` }, 'Revoke'));
    fillTexts(row, [
      ['', one.note || one.id], ['', one.id === session ? 'this session' : ''], ['soft', one.scopes.join(', ')],
      ['soft', one.projects ? `only ${one.projects.join(', ') || 'no project'}` : ''],
      ['soft', one.expires ? `expires ${time(one.expires)}` : 'does not expire'], ['soft', one.last_used ? 'used' : 'never used', one.last_used],
    ]);
  }, 'You have none.');
}

function present(created) {
  put(byId('secret'), created.token);
  const causes = { site: `your site allows ${created.most_days} days`, credentials: 'it lasts no longer than the sign-in that it was made with' };
  put(byId('limited'), created.limited_by ? `It expires ${time(created.expires)}: ${causes[created.limited_by]}.` : '');
  byId('new').hidden = false;
  byId('new-title').focus();
}

byId('create').addEventListener('submit', (event) => {
  event.preventDefault();
  const form = byId('create');
  attemptForm(form, async () => {
    const scopes = ['read', ...[.../** @type {NodeListOf<HTMLInputElement>} */ (form.querySelectorAll('#scopes input:checked'))].map((one) => one.value)];
    const { content } = await ask('POST', path('token'), { note: byId('note').value.trim(), days: byId('days').value ? Number(byId('days').value) : undefined, scopes });
    form.reset();
    present(content);
    await read();
  });
});
byId('copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(byId('secret').textContent);
    say('The token is copied.');
  } catch { // the browser does not allow it, or the page came without TLS: the person copies what is selected
    getSelection().selectAllChildren(byId('secret'));
    say('The token is selected: copy it with your keyboard.');
  }
});
start(async (user, rights) => {
  session = rights.token;
  byId('create').hidden = rights.scopes.every((one) => one === 'read');
  byId('scopes').replaceChildren(byId('scopes').firstElementChild, ...rights.scopes.filter((one) => one in SCOPES).map((one) => element('label', {},
    element('input', { type: 'checkbox', value: one, checked: EVERY_DAY.includes(one) }), ` ${SCOPES[one]}`)));
  follow([], soon(read));
});
