// Durations in the words of `comet`: 90m, 6h, 2d, 1w.

const UNITS = [['w', 10080], ['d', 1440], ['h', 60], ['m', 1]];

// A walltime as one types it for `comet`: the longest unit of which it is a whole number.
export function walltimeText(minutes) {
  const [unit, length] = UNITS.find(([, length]) => minutes >= length && minutes % length === 0) ?? ['m', 1];
  return `${minutes / length}${unit}`;
}

// A time that passes: its two longest units, whole minutes rounded down.
export function durationText(minutes) {
  let rest = Math.max(0, Math.floor(minutes));
  const parts = [];
  for (const [unit, length] of UNITS.slice(1)) {
    if (rest >= length) parts.push(`${Math.floor(rest / length)}${unit}`);
    rest %= length;
  }
  return parts.slice(0, 2).join(' ') || '0m';
}
