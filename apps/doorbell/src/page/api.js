/** Requests to the server the page came from, and whether it answers. */

const TIMEOUT_MS = 20_000;
/** What a proxy says in place of a server that does not answer. */
const GONE = [502, 504];

const listeners = [];
let isLost = false;

/** Called with true when the server no longer answers, with false when it does again. */
export function onLost(listener) {
  listeners.push(listener);
}

export const lost = () => isLost;

function tell(now) {
  if (now === isLost) return;
  isLost = now;
  for (const listener of listeners) listener(now);
}

/** The answer, whatever its status. Throws where there is none. */
export async function ask(url, { method = 'GET', json, form } = {}) {
  let response;
  try {
    response = await fetch(url, {
      method,
      body: form ?? (json === undefined ? null : JSON.stringify(json)),
      headers: json === undefined ? {} : { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    tell(true);
    throw new Error('The doorbell does not answer. Nothing was changed as far as this page knows.');
  }
  tell(GONE.includes(response.status));
  return response;
}

/** The JSON of a success. Throws with words for people where it is none. */
export async function call(url, options) {
  const response = await ask(url, options);
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null && answer.status !== 'error') return answer;
  throw Object.assign(new Error(wordsFor(response.status, answer)), { status: response.status, code: answer?.code });
}

function wordsFor(status, answer) {
  if (answer?.code === 'PASSIVE') return 'Another doorbell is in charge at the moment. Try again in a while.';
  if (answer?.code === 'STORE_FENCED') return 'The doorbell is being moved and can save nothing right now. Try again.';
  if (status === 413) return 'That picture is too large.';
  if (status === 429) return 'Too many requests. Try again in a while.';
  if (typeof answer?.message === 'string') {
    if (answer.message === 'Name is required') return 'A name needs a letter A to Z or a digit.';
    if (answer.message === 'No face found in image') return 'No face was found in the picture. Try another one.';
    return answer.message;
  }
  return `The doorbell could not do that (${status}).`;
}
