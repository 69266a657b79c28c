/** Keeps the page in step with the doorbell: told by events where the server sends them, otherwise by asking. */
import { call, lost, onLost } from './api.js';
import { $, busy, say } from './dom.js';
import { refreshHealth } from './health.js';
import { startLive } from './live.js';
import { refreshPeople, startPeople } from './people.js';
import { refreshUnknown, startUnknown } from './unknown.js';
import { refreshVisits, startVisits } from './visits.js';

const ASK_MS = 3000;
/** People and health change without an event, too. */
const ASK_BESIDE_EVENTS_MS = 15_000;
const TRY_EVENTS_AGAIN_MS = 15_000;
const PARTS = [refreshVisits, refreshUnknown, refreshPeople, refreshHealth];

let stream = null;
let isTold = false;
let timer;
let running = null;
let isStale = false;

/** All parts; what is asked for meanwhile is done once more afterwards. */
function refresh() {
  if (running !== null) {
    isStale = true;
    return running;
  }
  running = (async () => {
    do {
      isStale = false;
      const results = await Promise.allSettled(PARTS.map((part) => part()));
      const failed = results.find(({ status }) => status === 'rejected');
      if (failed !== undefined && !lost()) say(failed.reason.message, true);
    } while (isStale);
    running = null;
    showLink();
  })();
  return running;
}

function again() {
  clearTimeout(timer);
  timer = setTimeout(
    () => void (document.hidden ? Promise.resolve() : refresh()).finally(again),
    isTold && !lost() ? ASK_BESIDE_EVENTS_MS : ASK_MS,
  );
}

function listen() {
  stream = new EventSource('/stream/events');
  stream.addEventListener('open', () => {
    isTold = true;
    // What happened between two streams is in neither.
    void refresh().finally(again);
  });
  stream.addEventListener('error', () => {
    isTold = false;
    showLink();
    again();
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, TRY_EVENTS_AGAIN_MS);
  });
  for (const type of ['event', 'message']) stream.addEventListener(type, () => void refresh());
}

function showLink() {
  const link = $('link');
  link.textContent = lost() ? 'Not connected' : isTold ? 'Live' : `Every ${ASK_MS / 1000} s`;
  link.dataset.state = lost() ? 'lost' : isTold ? 'live' : 'asking';
}

onLost((isLost) => {
  $('lost').textContent = isLost ? 'The doorbell does not answer. What you see may be old. Trying again…' : '';
  showLink();
  if (!isLost) {
    say('Connected again');
    void refresh();
  }
});

$('ring').addEventListener('click', () => {
  void busy($('ring'), async () => {
    await call('/api/trigger-doorbell', { method: 'POST' });
    say('The bell was rung');
    await refresh();
  });
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) void refresh();
});

startVisits();
startUnknown(refresh);
startPeople(refresh);
startLive();
void refresh().finally(again);
listen();
