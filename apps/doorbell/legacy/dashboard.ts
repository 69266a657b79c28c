/** The page of the legacy: state, button, camera, people, events. */
export const dashboard = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Doorbell Security</title>
<style>
  body { font: 16px/1.5 sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; color: #222; background: #f4f4f4 }
  section { background: #fff; border: 1px solid #ccc; margin: 0 0 1rem; padding: 0 1rem 1rem }
  ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 1rem }
  li img { display: block; width: 6rem; height: 6rem; object-fit: cover }
  table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .2rem .5rem; border-bottom: 1px solid #ddd }
</style>
</head>
<body>
<h1>Doorbell Security</h1>
<section><h2>System</h2><p id="status">…</p>
  <button id="ring">Trigger doorbell</button> <button id="capture">Capture photo</button>
  <p id="answer" role="status"></p><img id="photo" alt="" hidden width="320"></section>
<section><h2>Known faces</h2><ul id="known"></ul>
  <form id="upload"><label>Name <input name="name" required></label>
  <label>Picture <input name="file" type="file" accept="image/*" required></label> <button>Upload</button></form></section>
<section><h2>Recent events</h2><table><thead><tr><th>Time<th>Event<th>Who</tr></thead><tbody id="events"></tbody></table></section>
<script>
const $ = (id) => document.getElementById(id);
const call = async (url, options) => (await fetch(url, options)).json();
const make = (name, text, extra) => Object.assign(document.createElement(name), { textContent: text }, extra);
async function refresh() {
  const status = await call('/api/status');
  const leds = Object.entries(status.gpio.led_states).filter(([, on]) => on).map(([name]) => name).join(' and ') || 'off';
  $('status').textContent = status.status + ', ' + status.faces.known_faces + ' known faces, lamp ' + leds;
  const known = await call('/api/faces/known');
  $('known').replaceChildren(...known.faces.map((face) => {
    const item = make('li', face.name);
    if (face.image_url) item.prepend(make('img', '', { src: face.image_url, alt: '' }));
    return item;
  }));
  const { events } = await call('/api/recent-events');
  $('events').replaceChildren(...events.reverse().map((event) => {
    const row = make('tr', '');
    const names = event.faces.map((face) => face.name || face.status).join(', ');
    row.append(make('td', event.timestamp.slice(0, 19)), make('td', event.event_type), make('td', names));
    return row;
  }));
}
$('ring').onclick = async () => { $('answer').textContent = (await call('/api/trigger-doorbell', { method: 'POST' })).message; };
$('capture').onclick = async () => {
  const answer = await call('/api/capture-photo');
  $('answer').textContent = answer.filename || answer.message;
  if (answer.image_data) Object.assign($('photo'), { src: answer.image_data, hidden: false });
};
$('upload').onsubmit = async (submit) => {
  submit.preventDefault();
  const answer = await call('/api/faces/known/upload', { method: 'POST', body: new FormData(submit.target) });
  $('answer').textContent = answer.message || answer.filename;
  refresh();
};
refresh();
setInterval(refresh, 3000);
</script>
</body>
</html>
`;
