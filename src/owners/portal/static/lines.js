// A line whose parts are as long as what they stand for: the life of a set, the hours of an allocation. And bars beside each other.

const SVG = 'http://www.w3.org/2000/svg';
const LENGTH = 1000;
const SHORTEST = 20; // a part that is there is visible

export function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// `parts`: [class, amount] each; `text` says the same to who does not see it.
export function line(parts, text) {
  const present = parts.filter(([, amount]) => amount > 0);
  const sum = present.reduce((total, [, amount]) => total + amount, 0);
  const free = LENGTH - SHORTEST * present.length;
  const made = drawn('svg', { class: 'line', viewBox: `0 0 ${LENGTH} 20`, preserveAspectRatio: 'none', role: 'img', 'aria-label': text });
  let begin = 0;
  for (const [name, amount] of present) {
    const length = SHORTEST + (free * amount) / sum;
    made.append(drawn('rect', { class: name, x: begin, y: 0, width: length, height: 20 }));
    begin += length;
  }
  return made;
}

// A bar for each of `entries`, [text, amount]: the text appears on hover. `text` says all to who does not see it.
export function bars(entries, text) {
  const most = Math.max(...entries.map(([, amount]) => amount));
  const made = drawn('svg', { class: 'bars', viewBox: `0 0 ${entries.length * 10} 100`, preserveAspectRatio: 'none', role: 'img', 'aria-label': text });
  entries.forEach(([name, amount], index) => {
    const height = amount && Math.max(2, (100 * amount) / most);
    const bar = drawn('rect', { x: index * 10 + 1, y: 100 - height, width: 8, height });
    bar.append(drawn('title', {}));
    bar.firstChild.textContent = name;
    made.append(bar);
  });
  return made;
}
