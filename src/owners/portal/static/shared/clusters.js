// A cluster and its nodes in words, on every page.

/** @typedef {Partial<Rest.Frontend & Rest.Compute>} Machine a frontend or a compute */

/** @param {Rest.Cluster} cluster @returns {Machine[]} */
export const nodesOf = (cluster) => [cluster.frontend, ...cluster.computes].filter((node) => node !== null);

// Where a disk is, of the state that the site has for its image.
/** @param {Machine} node */
export function diskOf(node) {
  const state = node.image_state;
  if (!state || state === 'mapped') return { place: 'host', text: 'on its host' };
  if (state === 'unmapped') return { place: 'nas', text: 'on the NAS' };
  if (state.startsWith('NAS->')) return { place: 'way', text: 'NAS → host' };
  if (state.startsWith('NAS<-')) return { place: 'way', text: 'host → NAS' };
  return { place: 'way', text: state };
}

/** @param {Rest.Cluster} cluster */
export function disksText(cluster) {
  const counts = { nas: 0, way: 0, host: 0 };
  for (const node of nodesOf(cluster)) counts[diskOf(node).place] += 1;
  return `disks: ${counts.nas} on the NAS, ${counts.way} on the way, ${counts.host} on hosts`;
}

/** @param {string | null} [state] of a set; a frontend has none */
export const isWaiting = (state) => ['created', 'submitted'].includes(state);

/** @param {number} number @param {string} state */
export const setText = (number, state) => `set ${number} ${isWaiting(state) ? 'waits' : state}`;

// Number → state, of the sets that its computes are in.
/** @param {Rest.Cluster} cluster */
export const setsOf = (cluster) => new Map(cluster.computes.filter((node) => node.active_computeset).map((node) => [node.active_computeset, node.active_computeset_state]));

/** @param {Machine} node */
export const addressesOf = (node) => [...new Set([node.pub_ip, ...node.interface.map((one) => one.ip)])].filter(Boolean);

/** @param {number | null} megabytes */
export const memoryText = (megabytes) => (megabytes >= 1024 ? `${+(megabytes / 1024).toFixed(1)} GiB` : megabytes ? `${megabytes} MiB` : '');

// `off`, also of a node that the site knows no state of since it has never run.
/** @param {Machine} node */
export const powerText = (node) => (node.power === 'off' && node.state === 'nostate-error' ? 'off, never started' : node.power);

/** @param {Machine} node */
export const isOn = (node) => ['on', 'paused'].includes(node.power);

// A machine that is on keeps what it had in its drive when it was switched on.
/** @param {Machine} node */
export function driveText(node) {
  const kept = node.iso_active && node.iso_active !== node.iso && node.power !== 'off' ? `CD ${node.iso_active} until it is off` : '';
  const next = node.iso ? `CD ${node.iso}${node.iso === node.iso_active ? '' : ' from the next power-on'}` : '';
  return [kept, next].filter(Boolean).join(', then ');
}

export const nodeLink = (cluster, name) => `node?${new URLSearchParams({ cluster, name })}`;
