/** Faces that nobody knew, to be named or thrown away. */
import { call } from './api.js';
import { $, busy, confirmed, keep, make, picture, say, timeOf } from './dom.js';

const AT_ONCE = 8;
/** `unknown_20261121_081334_1.jpg` */
const STAMP = /_(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)_(\d+)\.jpg$/;

let items = [];
let shown = AT_ONCE;
let refreshAll;

export function startUnknown(refresh) {
  refreshAll = refresh;
  $('more').addEventListener('click', () => {
    const first = shown;
    shown += AT_ONCE;
    show();
    $('unknown-list').children[first]?.querySelector('input').focus();
  });
}

export async function refreshUnknown() {
  ({ items } = await call('/api/faces/candidates'));
  show();
}

function show() {
  keep($('unknown-list'), items.slice(0, shown), ({ filename }) => filename, card);
  $('unknown-note').textContent =
    items.length === 0 ? 'No unknown faces. Who is not recognised at the door appears here.' : '';
  $('more').hidden = items.length <= shown;
}

function card({ filename, path }) {
  const [, year, month, day, hour, minute, second, number] = STAMP.exec(filename) ?? [];
  const time =
    year === undefined ? make('span', {}, filename) : timeOf(`${year}-${month}-${day}T${hour}:${minute}:${second}`);
  const which = `face of ${time.textContent}${Number(number) > 1 ? `, number ${number}` : ''}`;
  const input = make('input', {
    name: 'name',
    required: true,
    maxlength: '64',
    autocomplete: 'off',
    list: 'known-names',
    placeholder: 'Name',
    'aria-label': `Name for the ${which}`,
  });
  const save = make('button', { class: 'primary', 'aria-label': `Save the name for the ${which}` }, 'Save');
  const drop = make('button', { type: 'button', 'aria-label': `Throw away the ${which}` }, 'Throw away');
  const form = make('form', {}, input, make('div', { class: 'row' }, save, drop));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void busy(save, async () => {
      const { name } = await call('/api/faces/label', { method: 'POST', json: { filename, name: input.value } });
      say(`Saved as ${name}`);
      leave();
      await refreshAll();
    });
  });
  drop.addEventListener('click', () => {
    void busy(drop, async () => {
      if (
        !(await confirmed(['Throw this face away?'], 'Its picture is removed. The visit itself stays.', 'Throw away'))
      )
        return;
      await call(`/api/faces/candidates/${encodeURIComponent(filename)}`, { method: 'DELETE' });
      say('The face was thrown away');
      leave();
      await refreshAll();
    });
  });
  return make(
    'li',
    {},
    picture(path.startsWith('/') ? path : null, `The ${which}`),
    make('p', { class: 'when' }, time),
    form,
  );
}

/** The card goes: the focus must not go with it. */
function leave() {
  $('unknown-title').focus();
}
