// The picture of a cluster: its NAS, its nodes, and between them where the disk of each node is.

const SVG = 'http://www.w3.org/2000/svg';
const NAMED = 16;
const MOST = 240;

// Where a disk is, of the state that the site has for its image.
export function diskOf(node) {
  const state = node.image_state;
  if (!state) return { place: 'host', text: 'disk on its host' };
  if (state === 'unmapped') return { place: 'nas', text: 'disk on the NAS' };
  if (state === 'mapped') return { place: 'host', text: 'disk on its host' };
  if (state.startsWith('NAS->')) return { place: 'way', text: 'disk on its way to the host' };
  if (state.startsWith('NAS<-')) return { place: 'way', text: 'disk on its way to the NAS' };
  return { place: 'way', text: `disk ${state}` };
}

export const nodesOf = (cluster) => [cluster.frontend, ...cluster.computes].filter((node) => node !== null);

export const setText = (number, state) => `set ${number} ${['created', 'submitted'].includes(state) ? 'waits' : state}`;

// The sets that its computes are in: `set 3 running`.
export function setsText(cluster) {
  const sets = new Map(cluster.computes.filter((node) => node.active_computeset).map((node) => [node.active_computeset, node.active_computeset_state]));
  return [...sets].map(([number, state]) => setText(number, state)).join(', ');
}

// An element of a picture.
export function drawn(name, attributes, text = '') {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(text);
  return made;
}

export function describe(cluster) {
  const counts = { nas: 0, way: 0, host: 0 };
  for (const node of nodesOf(cluster)) counts[diskOf(node).place] += 1;
  return `Disks: ${counts.nas} on the NAS, ${counts.way} on the way, ${counts.host} on hosts`;
}

export function picture(cluster) {
  const nodes = nodesOf(cluster).slice(0, MOST);
  const isNamed = nodes.length <= NAMED;
  const step = isNamed ? 30 : 9;
  const height = Math.max(nodes.length * step, 60) + 62;
  const svg = drawn('svg', { viewBox: `0 0 520 ${height}`, role: 'img', 'aria-label': `${cluster.name}. ${describe(cluster)}`, class: 'picture' });
  svg.append(
    drawn('text', { x: 60, y: 14, class: 'head' }, 'NAS'), drawn('text', { x: 200, y: 14, class: 'head' }, 'on the way'),
    drawn('text', { x: 390, y: 14, class: 'head' }, 'host'),
    drawn('path', { class: 'nas', d: `M20 32a40 9 0 0 1 80 0V${height - 12}a40 9 0 0 1-80 0zM20 32a40 9 0 0 0 80 0` }),
  );
  nodes.forEach((node, index) => {
    const y = 44 + step * (index + 0.5);
    const disk = diskOf(node);
    const group = drawn('g', { 'data-power': node.power, 'data-place': disk.place });
    group.append(drawn('title', {}, `${node.name}: ${node.power}, ${disk.text}`));
    group.append(drawn('path', { class: 'line', d: `M100 ${y}H300` }));
    group.append(drawn('rect', { class: 'box', x: 300, y: y - step * 0.42, width: 215, height: step * 0.84, rx: isNamed ? 4 : 1 }));
    group.append(drawn('circle', { class: 'lamp', cx: 500, cy: y, r: isNamed ? 5 : 3 }));
    if (isNamed) group.append(drawn('text', { x: 330, y: y + 5 }, node.name.length > 20 ? `${node.name.slice(0, 19)}…` : node.name));
    const x = { nas: 60, way: 200, host: 315 }[disk.place];
    group.append(drawn('circle', { class: 'disk', cx: x, cy: y, r: isNamed ? 7 : 3 }));
    svg.append(group);
  });
  return svg;
}
