// A question before something is done: what it does, its fields with errors beside them, and the button that does it.

import { attemptForm, element, put } from './page.js';
import { SignedOut } from './requests.js';

// `text`: an element, when it changes. `fields`: {name, label, input} each. `act(values)` does it; what is refused stands in the question, which stays open.
/**
 * @param {{title: string, text?: string | HTMLElement, fields?: {name: string, label: string, input: HTMLInputElement | HTMLSelectElement}[],
 *   action: string, isDestructive?: boolean, act: (values: Record<string, any>) => any}} about
 */
export function question({ title, text = '', fields = [], action, isDestructive = false, act }) {
  const refusal = element('p', { class: 'bad', role: 'alert' });
  const go = element('button', { class: isDestructive && 'destructive' }, action);
  const cancel = element('button', { type: 'button', autofocus: isDestructive, onclick: () => dialog.close() }, 'Cancel');
  const rows = fields.map(({ name, label, input }) => {
    input.id = input.name = name;
    return element('p', {}, element('label', { for: name }, label), input);
  });
  const form = element('form', { class: 'fields', onsubmit: async (event) => {
    event.preventDefault();
    put(refusal, '');
    go.disabled = true;
    const error = await attemptForm(form, () => act(Object.fromEntries(new FormData(form))), (message) => put(refusal, message));
    go.disabled = false;
    if (!error || error instanceof SignedOut) dialog.close();
  } }, element('h2', { id: 'question' }, title), text && (text instanceof Element ? text : element('p', {}, text)), ...rows, refusal, element('div', { class: 'buttons' }, go, cancel));
  const dialog = element('dialog', { 'aria-labelledby': 'question', onclose: () => dialog.remove() }, form);
  document.body.append(dialog);
  dialog.showModal();
  if (!isDestructive) form.querySelector('input')?.select(); // what is typed replaces the proposal
}
