/** Who was at the door: newest first, older ones by pages. */
import { call } from './api.js';
import { $, keep, listed, make, nameOf, picture, say, showPicture, timeOf } from './dom.js';

const BADGES = {
  KNOWN_VISITOR: ['Known', 'good'],
  UNKNOWN_VISITOR: ['Unknown', 'warn'],
  BLACKLIST_ALERT: ['Unwanted', 'bad'],
  NO_FACES: ['No face', 'calm'],
  CAPTURE_FAILURE: ['Fault', 'bad'],
};

let visits = [];
let older = null;
let isFirst = true;

export function startVisits() {
  $('older').addEventListener('click', () => void loadOlder());
}

/** Reads the newest, and puts those that are new above the others. */
export async function refreshVisits() {
  const page = await newest();
  const known = new Set(visits.map(({ id }) => id));
  const added = page.events.filter(({ id }) => !known.has(id));
  // Without a visit in common there may be others in between: what is older is read again by pages.
  if (added.length === page.events.length) {
    visits = page.events;
    older = page.older;
  } else {
    visits = [...added, ...visits];
  }
  show();
  if (!isFirst && added.length > 0) {
    say(added.length === 1 ? `New visit: ${headline(added[0]).map(textOf).join('')}` : `${added.length} new visits`);
  }
  isFirst = false;
}

/** A server of the older kind has no pages. */
async function newest() {
  try {
    return await call('/app/events');
  } catch (error) {
    if (error.status !== 404) throw error;
    const { events } = await call('/api/recent-events');
    return { events: events.reverse().map((event) => ({ ...event, id: event.timestamp, picture: null })), older: null };
  }
}

async function loadOlder() {
  const button = $('older');
  try {
    const page = await call(`/app/events?before=${encodeURIComponent(older)}`);
    const known = new Set(visits.map(({ id }) => id));
    const added = page.events.filter(({ id }) => !known.has(id));
    visits = [...visits, ...added];
    older = page.older;
    show();
    // Who pressed the button goes on with what came.
    const first = $('visit-list').children[visits.length - added.length];
    (first?.querySelector('button') ?? first)?.focus();
  } catch (error) {
    say(error.message, true);
    button.focus();
  }
}

function show() {
  keep($('visit-list'), visits, ({ id }) => id, visitNode);
  $('visits-note').textContent = visits.length === 0 ? 'Nobody has rung yet. Press “Ring the bell” to try it.' : '';
  $('older').hidden = older === null;
}

function visitNode(visit) {
  const [badge, tone] = BADGES[visit.event_type] ?? ['Event', 'calm'];
  const title = headline(visit);
  const words = title.map(textOf).join('');
  const image = picture(visit.picture, '');
  let thumb = make('span', { class: 'thumb' }, image);
  if (visit.picture !== null) {
    thumb = make('button', { class: 'thumb', 'aria-label': `Show the picture: ${words}` }, image);
    thumb.addEventListener('click', () => {
      if (image.isConnected) showPicture(headline(visit), visit.picture);
    });
    image.addEventListener('error', () => thumb.replaceWith(make('span', { class: 'thumb' }, ...thumb.childNodes)));
  }
  return make(
    'li',
    { tabindex: '-1' },
    thumb,
    make(
      'div',
      { class: 'what' },
      make('p', { class: 'who' }, ...title),
      make(
        'p',
        { class: 'when' },
        make('span', { class: `badge ${tone}` }, badge),
        ' ',
        timeOf(visit.timestamp),
        ...sure(visit),
      ),
    ),
  );
}

const textOf = (node) => (typeof node === 'string' ? node : node.textContent);

function headline({ event_type: type, faces }) {
  if (type === 'NO_FACES') return ['Somebody rang, no face was seen'];
  if (type === 'CAPTURE_FAILURE') return ['Somebody rang, the camera or the search failed'];
  const named = faces.filter(({ name }) => name !== null).map(({ name }) => nameOf(name));
  const unknown = faces.length - named.length;
  const strangers = unknown === 0 ? [] : [unknown === 1 ? 'somebody unknown' : `${unknown} unknown people`];
  const all = listed([...named, ...strangers]);
  if (typeof all[0] === 'string') all[0] = all[0][0].toUpperCase() + all[0].slice(1);
  return all.length === 0 ? ['Somebody rang'] : all;
}

function sure({ faces }) {
  const [face] = faces;
  if (faces.length !== 1 || face.name === null) return [];
  return [make('span', { class: 'sure' }, `${Math.round(face.confidence * 100)} % sure`)];
}
