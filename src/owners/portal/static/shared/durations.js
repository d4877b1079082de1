// Durations with a unit: 90m, 6h, 2d, 1w. `comet` takes Slurm's forms, too.

import { Refusal } from './requests.js';

/** @type {[string, number][]} */
const UNITS = [['w', 10080], ['d', 1440], ['h', 60], ['m', 1]];
const LONGEST = 10_000_000; // a request has no longer one; no site allows it, and the service says what this one does

// A walltime as one types it for `comet`: the longest unit of which it is a whole number.
/** @param {number} minutes */
export function walltimeText(minutes) {
  const [unit, length] = UNITS.find(([, length]) => minutes >= length && minutes % length === 0) ?? ['m', 1];
  return `${minutes / length}${unit}`;
}

// The minutes of what somebody typed; null when it is no walltime.
/** @param {string} text @returns {number | null} */
export function minutesOf(text) {
  const [, count, unit] = /^([1-9][0-9]{0,6}) ?([mhdw])$/.exec(text.trim().toLowerCase()) ?? [];
  return count ? Number(count) * new Map(UNITS).get(unit) : null;
}

// As a request has them.
/** @param {number} minutes */
export const requested = (minutes) => Math.min(minutes, LONGEST);

// The minutes of a walltime that somebody typed in a field of this name.
export function walltimeMinutes(text, field) {
  const minutes = minutesOf(text);
  if (minutes === null) throw new Refusal('The walltime is not understood', 'Refused', false, [{ pointer: `#/${field}`, detail: 'A number with m, h, d or w: for example 6h' }]);
  return minutes;
}

// With the two digits of usage.csv where one would make `0` of a minute that is charged.
export const hoursText = (minutes) => (minutes / 60).toLocaleString([], { maximumFractionDigits: minutes < 6 ? 2 : 1 });

/** @param {number} minutes */
export function nodeHours(minutes) {
  const text = hoursText(minutes);
  return `${text} node hour${text === '1' ? '' : 's'}`;
}

// A time that passes: its two longest units, whole minutes rounded down.
/** @param {number} minutes */
export function durationText(minutes) {
  let rest = Math.max(0, Math.floor(minutes));
  const parts = [];
  for (const [unit, length] of UNITS.slice(1)) {
    if (rest >= length) parts.push(`${Math.floor(rest / length)}${unit}`);
    rest %= length;
  }
  return parts.slice(0, 2).join(' ') || '0m';
}
