// The form of a launcher: the computes that its launcher.toml asks for, as a computeset on which `comet launch` goes on.
// Its command needs its folder and the owner's SSH key, which are on the owner's machine.

import { attemptForm, byId, element } from './shared/page.js';
import { ask, askerOnce, path, Refusal, send } from './shared/requests.js';
import { minutesOf, requested, walltimeMinutes, walltimeText } from './shared/durations.js';
import { question } from './shared/question.js';
import { estimates } from './shared/sets.js';

const options = (names) => names.map((one) => element('option', { value: one }, one));

// What the launcher will do, in words.
function aboutText({ command, files, results, user }) {
  const parts = [`On the frontend, as ${user}: ${command.length > 200 ? `${command.slice(0, 200)} …` : command}`];
  if (files.length) parts.push(`with ${files.join(', ')} of its folder`);
  if (results.length) parts.push(`whose results are ${results.join(', ')}`);
  return `${parts.join(', ')}.`;
}

function present(number, cluster) {
  const line = `comet launch . --group=set-${number} --computeset=${number}`;
  byId('launched').replaceChildren(
    `Computeset ${number} of ${cluster} starts. Give this line in the folder of the launcher.toml: it waits for the computes, runs the command, fetches its results, and ends the set. `,
    element('code', {}, line), ' Until then its computes wait and are charged; End above ends it.',
  );
  byId('launched').hidden = false;
}

function askFor(launcher, clusters, began) {
  const cost = element('p', { class: 'soft', role: 'status' });
  const cluster = element('select', {}, ...options(clusters.map((one) => one.name)));
  const count = element('input', { type: 'number', min: 1, value: launcher.nodes, required: true });
  const walltime = element('input', { value: walltimeText(launcher.walltime), maxlength: 8, autocomplete: 'off' });
  const allocation = element('select', {});
  const showAllocations = () => allocation.replaceChildren(...options(clusters.find((one) => one.name === cluster.value).allocations));
  const bodyOf = (minutes) => ({ cluster: cluster.value, count: Number(count.value), walltime_mins: minutes, ...(allocation.value && { allocation: allocation.value }) });
  const estimate = estimates(cost, () => bodyOf(minutesOf(walltime.value)));
  cluster.addEventListener('input', showAllocations);
  for (const one of [count, cluster, walltime, allocation]) one.addEventListener('input', estimate.changed);
  showAllocations();
  estimate.changed();
  const start = askerOnce();
  question({
    title: 'Start the computes of the launcher', text: element('div', {}, element('p', {}, aboutText(launcher)), cost), action: 'Start',
    fields: [ // the first has the focus: Enter starts what the file asks for, and would open the list of a select
      { name: 'count', label: 'Computes', input: count }, { name: 'cluster', label: 'Cluster', input: cluster },
      { name: 'walltime_mins', label: 'Walltime, as 90m, 6h or 2d', input: walltime }, { name: 'allocation', label: 'Allocation', input: allocation },
    ],
    act: async (values) => {
      const body = bodyOf(requested(walltimeMinutes(values.walltime_mins, 'walltime_mins')));
      estimate.sent();
      const { content } = await start(path('computeset'), body);
      present(content.computeset, values.cluster);
      began();
    },
  });
}

// Has the form of the page ask for computes; `began()` is called for what the service accepted.
export function offerLaunch(began) {
  const form = byId('launch');
  form.hidden = false;
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    attemptForm(form, async () => {
      const { content: launcher } = await send('POST', 'page/computesets/launcher', byId('launcher').files[0]);
      const { content: clusters } = await ask('GET', path('cluster'));
      if (!clusters.length) throw new Refusal('You have no cluster');
      askFor(launcher, clusters, began);
    });
  });
}
