// Names of nodes as an owner types them: a hostlist, a glob, an address, or a word.

const STATES = ['on', 'off', 'paused', 'crashed', 'unknown'];
const ADDRESS = /^\d+(\.\d+){3}$/;
const escaped = (text) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);

// Whether the number, with as many digits as the range begins with, is in one of the ranges of `1-4,08`.
function isWithin(digits, ranges) {
  return ranges.split(',').some((range) => {
    const [, from, to = from] = /^ *(\d+)(?:-(\d+))? *$/.exec(range) ?? [];
    const isWritten = digits === String(Number(digits)).padStart(from?.startsWith('0') ? from.length : 0, '0');
    return from !== undefined && isWritten && Number(digits) >= Number(from) && Number(digits) <= Number(to);
  });
}

// A hostlist or glob as a test of a name. A bracket that is not closed yet takes everything.
function nameTest(pattern) {
  const ranges = [];
  const text = pattern.replace(/\[[^\]]*$/, '*').split(/(\[[^\]]*\]|[*?])/).map((part) => {
    if (part === '*') return '.*';
    if (part === '?') return '.';
    if (!part.startsWith('[')) return escaped(part);
    ranges.push(part.slice(1, -1));
    return String.raw`(\d+)`;
  }).join('');
  const whole = new RegExp(`^${text}$`);
  return (name) => {
    const found = whole.exec(name);
    return found !== null && ranges.every((one, index) => isWithin(found[index + 1], one));
  };
}

function termTest(term) {
  const [, number] = /^set ?(\d+)$/.exec(term) ?? [];
  if (number) return ({ set }) => String(set) === number;
  if (STATES.includes(term)) return ({ power }) => power === term;
  if (/[[*?]/.test(term)) {
    const test = nameTest(term);
    return ({ name, addresses }) => test(name.toLowerCase()) || addresses.some(test);
  }
  if (ADDRESS.test(term)) return ({ addresses }) => addresses.includes(term);
  return ({ text }) => text.toLowerCase().includes(term);
}

const termsOf = (text) => text.split(/,(?![^[]*\])/).map((one) => one.trim()).filter(Boolean);

// Names in a hostlist as a test of a name.
export function namesTest(text) {
  const tests = termsOf(text).map(nameTest);
  return (name) => tests.some((test) => test(name));
}

// A test of {name, power, set, addresses, text}, of terms with commas: one of them is enough. Null: every node.
export function filterTest(text) {
  const terms = termsOf(text.toLowerCase()).map(termTest);
  return terms.length ? (entry) => terms.some((test) => test(entry)) : null;
}

// Names as a hostlist: `vm-vc1-[0-3,7],login`.
export function folded(names) {
  const stems = new Map();
  for (const name of names) {
    const [, stem, digits] = /^(.*?)(0|[1-9]\d{0,8})?$/.exec(name);
    if (!stems.has(stem)) stems.set(stem, []);
    stems.get(stem).push(digits === undefined ? null : Number(digits));
  }
  return [...stems].flatMap(([stem, numbers]) => {
    const ranges = [];
    for (const one of numbers.filter((each) => each !== null).sort((a, b) => a - b)) {
      const last = ranges.at(-1);
      if (last && last[1] === one - 1) last[1] = one;
      else ranges.push([one, one]);
    }
    const texts = ranges.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(',');
    const list = texts === '' ? [] : [/[-,]/.test(texts) ? `${stem}[${texts}]` : `${stem}${texts}`];
    return numbers.includes(null) ? [stem, ...list] : list;
  }).join(',');
}
