/** How the doorbell is, in plain words. */
import { ask } from './api.js';
import { $, keep, make } from './dom.js';

const OVERALL = {
  healthy: ['Everything works.', 'good'],
  degraded: ['It works, but something is slow or held up.', 'warn'],
  unhealthy: ['Something does not work.', 'bad'],
};
const STATUS = {
  running: ['Runs', 'good'],
  completed: ['Done', 'good'],
  failed: ['Does not run', 'bad'],
  healthy: ['Works', 'good'],
  degraded: ['Held up', 'warn'],
  unhealthy: ['Does not work', 'bad'],
};
/** Below it, the runtime warns. */
const GOOD_SCORE = 70;
const PARTS = {
  storage: 'Database',
  recognition: 'Face recognition',
  bell: 'Bell',
  camera: 'Camera',
  notifications: 'Messages',
  chores: 'Nightly chores',
  web: 'Web page',
};
const STAGES = {
  capture: 'for a picture',
  detect: 'for the search for faces',
  identify: 'to be recognised',
  record: 'to be saved',
};
const QUEUE_SIZE = /^pipeline_queue_size\{([^}]*)\} (\d+)/gm;

export async function refreshHealth() {
  const [answer, states, metrics] = await Promise.all([ask('/health'), ask('/health/services'), ask('/metrics')]);
  const health = await answer.json().catch(() => null);
  if (health === null || typeof health.services !== 'object') {
    said('This server does not tell how it is.', 'calm');
    return;
  }
  said(...(OVERALL[health.system_status] ?? ['Its state is not known.', 'calm']));
  if (health.state !== 'running') said(`The doorbell is ${health.state}.`, 'warn');
  const score = Math.round(health.performance_score * 100);
  $('health-score').hidden = false;
  $('score').value = score;
  $('score-text').textContent = `${score} of 100`;
  keep(
    $('factors'),
    health.performance_factors,
    ({ because }) => because,
    ({ because }) => make('li', {}, `Lower because ${because}`),
  );
  if (health.system_status === 'healthy' && score < GOOD_SCORE)
    said('Everything works, but slowly at the moment.', 'warn');
  const watched = Object.values(health.services);
  const parts = [...watched, ...(await unwatched(states, health.services))];
  keep($('parts'), parts, (part) => JSON.stringify([part.service_name, part.status, reasons(part)]), partNode);
  const counted = watched.map(({ details }) => details).filter((details) => typeof details?.accepted === 'number');
  const sum = (key) => counted.reduce((total, details) => total + details[key], 0);
  const lookedAt = Math.min(...watched.map(({ timestamp }) => Date.parse(timestamp)));
  const ageS = Math.max(0, Math.round((Date.parse(health.timestamp) - lookedAt) / 1000));
  const age = Number.isFinite(ageS) ? ` Looked at ${ageS} s ago.` : '';
  $('presses').textContent =
    `Since the last start: ${plural(sum('accepted'), 'press', 'presses')} taken, ${sum('dropped') || 'none'} dropped.${age}`;
  showQueues(metrics.ok ? await metrics.text() : '');
}

/** Parts that nobody looks at in between are at least there or not. */
async function unwatched(answer, watched) {
  if (!answer.ok) return [];
  const { states } = await answer.json();
  return states
    .filter(({ name }) => !Object.hasOwn(watched, name))
    .map(({ name, state }) => ({ service_name: name, status: state }));
}

function said(text, tone) {
  $('health-said').textContent = text;
  $('health-said').className = `said ${tone}`;
}

const reasons = ({ errors = [], warnings = [] }) => [...errors, ...warnings].join('; ');

function partNode(part) {
  const [word, tone] = STATUS[part.status] ?? [part.status, 'calm'];
  const name = PARTS[part.service_name] ?? part.service_name.replaceAll(/[_-]/g, ' ');
  const why = reasons(part);
  return make(
    'li',
    {},
    make('span', { class: 'part' }, name),
    make('span', { class: `badge ${tone}` }, word),
    ...(why === '' ? [] : [make('span', { class: 'why' }, why)]),
  );
}

function showQueues(text) {
  const waiting = [...text.matchAll(QUEUE_SIZE)]
    .map(([, labels, size]) => [/stage="([^"]*)"/.exec(labels)?.[1] ?? '', Number(size)])
    .filter(([, size]) => size > 0)
    .map(([stage, size]) => `${plural(size, 'press waits', 'presses wait')} ${STAGES[stage] ?? `before ${stage}`}`);
  keep(
    $('queues'),
    waiting.length > 0 ? waiting : ['Nothing waits in a queue.'],
    (line) => line,
    (line) => make('li', {}, line),
  );
}

const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;
