// Rules of the pages that need no browser: names and filters, durations, operations in words. `tools/check-pages` runs them.

import assert from 'node:assert/strict';
import { test } from 'node:test';

const shared = new URL(`${process.env.PAGES}/shared/`, 'file:');
const { filterTest, folded, namesTest } = await import(new URL('hostlists.js', shared));
const { durationText, hoursText, minutesOf, nodeHours, requested, walltimeMinutes, walltimeText } = await import(new URL('durations.js', shared));
const { foldOperations, operationText, operationTexts } = await import(new URL('operations.js', shared));
const { diskOf, driveText } = await import(new URL('clusters.js', shared));

const NODES = [...Array(12).keys()].map((index) => ({
  name: `vm-vc1-${index}`, power: index % 2 ? 'on' : 'off', set: index < 3 ? 3 : null, addresses: [`10.1.0.${index}`], text: `vm-vc1-${index}\nset ${index}`,
}));
const found = (text) => NODES.filter(filterTest(text)).map(({ name }) => Number(name.slice(7)));

test('a filter takes hostlists, globs, addresses, states, sets and words', () => {
  assert.deepEqual(found('vm-vc1-[1-2,9]'), [1, 2, 9]);
  assert.deepEqual(found('vm-vc1-1*'), [1, 10, 11]);
  assert.deepEqual(found('VM-vc1-1?'), [10, 11]);
  assert.deepEqual(found('10.1.0.1'), [1], 'an address is whole');
  assert.deepEqual(found('10.1.0.1*'), [1, 10, 11]);
  assert.deepEqual(found('set 3'), [0, 1, 2]);
  assert.deepEqual(found('on,vm-vc1-0'), [0, 1, 3, 5, 7, 9, 11]);
  assert.deepEqual(found('vm-vc1-[1'), found('vm-vc1-*'), 'a bracket that is typed just now');
  assert.deepEqual(found('.*'), found('*').filter(() => false), 'it is no regular expression');
  assert.equal(filterTest(' , '), null);
});

test('names are folded into a hostlist that means the same names', () => {
  const names = ['vm-vc1-0', 'vm-vc1-1', 'vm-vc1-2', 'vm-vc1-7', 'login', 'n01'];
  assert.equal(folded(names), 'vm-vc1-[0-2,7],login,n01'.replace('n01', folded(['n01'])));
  const isWithin = namesTest(folded(names));
  assert.deepEqual([...names, 'vm-vc1-3', 'n1'].filter(isWithin), names);
  assert.equal(folded([]), '');
});

test('a walltime has a unit, and a duration its two longest ones', () => {
  assert.deepEqual(['90m', ' 6H ', '2d', '1w', '6', '0h', '1.5h', '06:00:00', ''].map(minutesOf), [90, 360, 2880, 10080, null, null, null, null, null]);
  assert.deepEqual([90, 360, 2880, 10080].map(walltimeText), ['90m', '6h', '2d', '1w']);
  assert.deepEqual([0, -5, 59.9, 61, 1501, 10081].map(durationText), ['0m', '0m', '59m', '1h 1m', '1d 1h', '7d 1m']);
  assert.equal(nodeHours(60), '1 node hour');
  assert.equal(nodeHours(1), '0.02 node hours');
  assert.equal(hoursText(3072 * 60), '3,072');
  assert.deepEqual(['9999w', '6h'].map((text) => requested(minutesOf(text))), [10_000_000, 360]);
  assert.throws(() => walltimeMinutes('6', 'walltime_mins'), (error) => error.errors[0].pointer === '#/walltime_mins');
});

const operation = (more) => ({
  id: '1', kind: 'poweron', state: 'succeeded', cluster: 'vc1', node: 'n0', computeset: null, actor: 'ann', progress: [], result: null, error: null,
  created: '2026-12-01T10:00:00Z', started: null, ended: null, ...more,
});

test('one request for many nodes is one line with the count of all', () => {
  const many = [...Array(64).keys()].map((index) => operation({ id: String(index), node: `n${index}`, created: new Date(1_800_000_000_000 - index * 500).toISOString() }));
  const groups = foldOperations([...many, operation({ id: 'old', node: 'n0', created: '2026-11-01T10:00:00Z' })]);
  assert.deepEqual(groups.map((group) => group.length), [64, 1]);
  assert.equal(operationText(groups[0]), '64 nodes of vc1 switched on by ann');
  const mixed = [operation({}), operation({ node: 'n1', state: 'failed', error: { detail: 'its host did not answer' } })];
  assert.deepEqual(operationTexts(...mixed).slice(0, 2), [['', 'Power-on of n1, n0 of vc1 (ann)'], ['bad', '1 succeeded, 1 failed']]);
  assert.equal(foldOperations([operation({}), operation({ id: '2' })]).length, 2, 'the same node twice is two requests');
});

test('a disk and a drive are in words', () => {
  const places = ['mapped', 'unmapped', 'NAS->VM', 'NAS<-VM', 'strange', null].map((state) => diskOf({ image_state: state }));
  assert.deepEqual(places.map(({ place }) => place), ['host', 'nas', 'way', 'way', 'way', 'host']);
  assert.equal(driveText({ power: 'on', iso: 'b.iso', iso_active: 'a.iso' }), 'CD a.iso until it is off, then CD b.iso from the next power-on');
  assert.equal(driveText({ power: 'off', iso: null, iso_active: 'a.iso' }), '');
});
