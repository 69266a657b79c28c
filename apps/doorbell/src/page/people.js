/** Who is known: list, add, delete. */
import { call } from './api.js';
import { $, busy, confirmed, keep, make, nameOf, picture, say } from './dom.js';

let refreshAll;

export function startPeople(refresh) {
  refreshAll = refresh;
  const form = $('add');
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void add(form.querySelector('button'), async () => {
      const file = $('add-file').files[0];
      if (file === undefined) throw new Error('Choose a picture first, or add from the camera.');
      const data = new FormData();
      data.set('name', $('add-name').value);
      data.set('file', file);
      return call('/api/faces/known/upload', { method: 'POST', form: data });
    });
  });
  $('add-camera').addEventListener('click', () => {
    if (!$('add-name').reportValidity()) return;
    void add($('add-camera'), () =>
      call('/api/faces/known/add-from-camera', { method: 'POST', json: { name: $('add-name').value } }),
    );
  });
}

async function add(control, work) {
  $('add-answer').textContent = '';
  await busy(control, async () => {
    try {
      const wanted = $('add-name').value.trim();
      const { name } = await work();
      say(name === wanted ? `${name} was added` : `Added as ${name}: other signs cannot be kept`);
      $('add').reset();
      await refreshAll();
    } catch (error) {
      $('add-answer').textContent = error.message;
      throw error;
    }
  });
}

export async function refreshPeople() {
  const [{ faces }, { faces: counts }] = await Promise.all([call('/api/faces/known'), call('/api/status')]);
  keep($('people-list'), faces, ({ name, image_url: image }) => `${image ?? ''} ${name}`, card);
  keep(
    $('known-names'),
    faces,
    ({ name }) => name,
    ({ name }) => make('option', { value: name }),
  );
  $('people-note').textContent = faces.length === 0 ? 'Nobody is known yet. Add somebody below.' : '';
  const watched = [...new Set(counts.blacklist_names)].sort();
  $('watched').hidden = watched.length === 0;
  $('watched').querySelector('summary').textContent = `Unwanted people (${watched.length})`;
  keep(
    $('watched-list'),
    watched,
    (name) => name,
    (name) => make('li', {}, nameOf(name)),
  );
}

function card({ name, image_url: image }) {
  const remove = make('button', { 'aria-label': `Delete ${name}` }, 'Delete');
  remove.addEventListener('click', () => {
    void busy(remove, async () => {
      const text = 'The doorbell will no longer recognise this person. Visits stay in the list.';
      if (!(await confirmed(['Delete ', nameOf(name), '?'], text, 'Delete'))) return;
      await call(`/api/faces/known/${encodeURIComponent(name)}`, { method: 'DELETE' });
      say(`${name} was deleted`);
      $('people-title').focus();
      await refreshAll();
    });
  });
  return make('li', {}, picture(image, ''), make('p', { class: 'who' }, nameOf(name)), remove);
}
