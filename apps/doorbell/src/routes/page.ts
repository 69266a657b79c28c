import type { FastifyInstance } from 'fastify';

export function pageRoutes(app: FastifyInstance): void {
  app.get('/', (_request, reply) => reply.type('text/html; charset=utf-8').send(PAGE));
}

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Doorbell</title>
<style>
  :root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent) }
  body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 64rem; padding: 1rem }
  main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)) }
  section { border: 1px solid var(--line); border-radius: .5rem; padding: 0 1rem 1rem }
  .wide { grid-column: 1 / -1 }
  ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .75rem }
  li { width: 7rem; overflow-wrap: anywhere } img { display: block; width: 100%; border-radius: .25rem }
  li img { aspect-ratio: 1; object-fit: cover } button, input { font: inherit }
  table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .25rem .5rem; border-top: 1px solid var(--line) }
</style>
</head>
<body>
<h1>Doorbell</h1>
<p id="answer" role="status">&nbsp;</p>
<main>
<section><h2>System</h2><p id="status">…</p><button id="ring">Ring</button> <button id="capture">Take a picture</button>
  <p><img id="photo" alt="Picture that was just taken" hidden></p></section>
<section><h2>Learn a face</h2><form id="upload">
  <p><label>Name<br><input name="name" required maxlength="64"></label></p>
  <p><label>Picture<br><input name="file" type="file" accept="image/jpeg,image/png" required></label></p><button>Learn</button></form></section>
<section class="wide"><h2>Known people</h2><ul id="known"></ul></section>
<section class="wide"><h2>Who is this?</h2><ul id="candidates"></ul></section>
<section class="wide"><h2>Visits</h2><table><thead><tr><th scope="col">Time<th scope="col">Event<th scope="col">Who</tr></thead><tbody id="events"></tbody></table></section>
</main>
<script>
const $ = (id) => document.getElementById(id);
const make = (name, properties, ...children) => { const node = Object.assign(document.createElement(name), properties); node.append(...children); return node; };
async function call(method, url, body) {
  const isForm = body instanceof FormData;
  const response = await fetch(url, { method, body: body && (isForm ? body : JSON.stringify(body)), headers: body && !isForm ? { 'content-type': 'application/json' } : {} });
  return response.json();
}
async function act(method, url, body) {
  const answer = await call(method, url, body);
  $('answer').textContent = answer.message || answer.filename || answer.name || answer.status;
  await refresh();
  return answer;
}
async function refresh() {
  const [status, known, candidates, recent] = await Promise.all(['status', 'faces/known', 'faces/candidates', 'recent-events'].map((path) => call('GET', '/api/' + path)));
  const lamp = Object.entries(status.gpio.led_states).filter(([, on]) => on).map(([name]) => name).join(' and ') || 'off';
  $('status').textContent = status.status + '; ' + known.count + ' people; lamp ' + lamp;
  $('known').replaceChildren(...known.faces.map(({ name, image_url }) => make('li', {},
    ...(image_url ? [make('img', { src: image_url, alt: '' })] : []), name, ' ',
    make('button', { textContent: 'Forget', ariaLabel: 'Forget ' + name, onclick: () => confirm('Forget ' + name + '?') && act('DELETE', '/api/faces/known/' + encodeURIComponent(name)) }))));
  $('candidates').replaceChildren(...candidates.items.slice(0, 12).map(({ filename, path }) => make('li', {},
    make('img', { src: path, alt: filename }),
    make('button', { textContent: 'Name', onclick: () => { const name = prompt('Who is this?'); if (name) act('POST', '/api/faces/label', { filename, name }); } }), ' ',
    make('button', { textContent: 'Drop', onclick: () => act('DELETE', '/api/faces/candidates/' + encodeURIComponent(filename)) }))));
  $('events').replaceChildren(...recent.events.reverse().map((event) => make('tr', {},
    make('td', {}, event.timestamp.slice(0, 19).replace('T', ' ')), make('td', {}, event.event_type.toLowerCase().replaceAll('_', ' ')),
    make('td', {}, event.faces.map(({ name, status }) => name || status).join(', ')))));
}
$('ring').onclick = () => act('POST', '/api/trigger-doorbell');
$('capture').onclick = async () => { const { image_data } = await act('GET', '/api/capture-photo'); if (image_data) Object.assign($('photo'), { src: image_data, hidden: false }); };
$('upload').onsubmit = (submit) => { submit.preventDefault(); act('POST', '/api/faces/known/upload', new FormData(submit.target)); };
refresh();
setInterval(refresh, 3000);
</script>
</body>
</html>
`;
