/** One request, and its answer as text and, where it is JSON of whatever dialect, as a value. */
export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
  readonly bytes: Buffer;
  /** The body with Python's `Infinity` as null; undefined where it is no JSON. */
  readonly json: unknown;
}

export interface Call {
  readonly method?: string;
  readonly path: string;
  readonly json?: unknown;
  readonly form?: FormData;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export async function call(base: string, { method = 'GET', path, json, form, body, headers }: Call): Promise<Answer> {
  const response = await fetch(`${base}${path}`, {
    method,
    headers: { ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    body: form ?? body ?? (json === undefined ? null : JSON.stringify(json)),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const text = bytes.toString('utf8');
  return {
    status: response.status,
    type: response.headers.get('content-type')?.split(';')[0] ?? '',
    text,
    bytes,
    json: asJson(text),
  };
}

function asJson(text: string): unknown {
  try {
    return JSON.parse(text.replaceAll(/:Infinity\b/g, ':null'));
  } catch {
    return undefined;
  }
}

/** The form of an upload. */
export function upload(name: string | null, file: Uint8Array | null, fileName = 'picture.jpg'): FormData {
  const form = new FormData();
  if (name !== null) form.set('name', name);
  if (file) form.set('file', new Blob([Uint8Array.from(file)], { type: 'image/jpeg' }), fileName);
  return form;
}

/** Asks until the answer is what is waited for. */
export async function until<T>(
  ask: () => Promise<T>,
  isRight: (answer: T) => boolean,
  deadlineMs = 20_000,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const answer = await ask();
    if (isRight(answer)) return answer;
    if (performance.now() > end) throw new Error(`waited ${deadlineMs} ms in vain; last: ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
