// The texts of an operation's row, on both pages.

import { time } from './page.js';

export function operationTexts(one) {
  const target = [one.cluster, one.node].filter(Boolean).join('/') || (one.computeset ? `set ${one.computeset}` : '');
  return [
    ['', `${one.kind} ${target}`], [one.state === 'failed' ? 'bad' : '', one.state],
    ['soft', one.state === 'running' && one.progress.length ? `${one.progress.length} steps done` : ''],
    [one.state === 'failed' ? 'bad' : 'soft', one.error?.detail ?? ''], ['soft', `${time(one.created)} by ${one.actor}`],
  ];
}
