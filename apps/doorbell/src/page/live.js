/** The picture of the camera, again and again while somebody looks. */
import { ask } from './api.js';
import { $ } from './dom.js';

const EVERY_MS = 2000;

let isPaused = matchMedia('(prefers-reduced-motion: reduce)').matches;
let shownUrl = '';

export function startLive() {
  showPause();
  $('pause').addEventListener('click', () => {
    isPaused = !isPaused;
    showPause();
  });
  void repeat();
}

function showPause() {
  $('pause').setAttribute('aria-pressed', String(isPaused));
}

/** One picture even where it is paused: who wants no motion wants to see the porch all the same. */
async function repeat() {
  for (let isFirst = true; ; isFirst = false) {
    if ((isFirst || !isPaused) && !document.hidden) await look();
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

async function look() {
  try {
    const response = await ask('/app/frame');
    if (!response.ok) {
      const { code } = await response.json().catch(() => ({}));
      note(code === 'PASSIVE' ? 'Another doorbell has the camera at the moment.' : 'The camera gives no picture.');
      return;
    }
    const url = URL.createObjectURL(await response.blob());
    const image = $('frame');
    image.src = url;
    await image.decode();
    URL.revokeObjectURL(shownUrl);
    shownUrl = url;
    note('');
  } catch {
    note('No picture at the moment.');
  }
}

function note(text) {
  $('frame-note').textContent = text;
  $('frame').hidden = text !== '';
}
