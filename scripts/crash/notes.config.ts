/**
 * The move of the notes service, as the crash tests run it. The environment says where it lives:
 * NOTES_FOLDER, NOTES_STORE (sqlite or files), NOTES_PORTS (gateway, legacy, next), optionally NOTES_DATABASE_URL, and NOTES_PICTURES=no
 * for a legacy that can stay up during the switch because its store alone refuses writes.
 */
import path from 'node:path';
import {
  command,
  counts,
  defineChangeover,
  document,
  dotenv,
  files,
  http,
  jsonFormat,
  jsonFile,
  log,
  postgres,
  rows,
  settings,
  sqlite,
  sync,
  type DataDefinition,
} from 'changeover';
import { parsePythonLiteral, formatPythonLiteral, float, plain } from 'changeover/python';
import { NOTES_PROGRAMS } from 'changeover/testing';

const {
  NOTES_FOLDER = '',
  NOTES_STORE = 'sqlite',
  NOTES_PORTS = '0,0,0',
  NOTES_DATABASE_URL,
  NOTES_PICTURES,
} = process.env;
const [gatewayPort, legacyPort, nextPort] = NOTES_PORTS.split(',').map(Number);
const legacyRoot = path.join(NOTES_FOLDER, 'legacy');
const nextRoot = path.join(NOTES_FOLDER, 'next');
const node = (program: string) => `"${process.execPath}" "${program}"`;
const target =
  NOTES_DATABASE_URL === undefined ? sqlite(path.join(nextRoot, 'data/next.db')) : postgres(NOTES_DATABASE_URL);
const nextEnv = { ROOT: nextRoot, ...(NOTES_DATABASE_URL === undefined ? {} : { DATABASE_URL: NOTES_DATABASE_URL }) };

const fromSqlite = sync({
  name: 'notes',
  from: sqlite(path.join(legacyRoot, 'data/notes.db')),
  to: target,
  chunkRows: 50,
  tables: {
    notes: { columns: { id: 'id', token: 'token', body: 'body', changed_at: 'updated_at' } },
    note_tags: { from: 'tags' },
  },
});

/**
 * A line of the legacy is known by where it begins. Its note gets a negative number, so that its key alone tells it from a note of the new
 * side, whose line is named after the note.
 */
const fromLog = sync({
  name: 'notes',
  from: log(path.join(legacyRoot, 'data/notes.log'), { format: 'python' }),
  to: target,
  chunkRows: 50,
  tables: {
    notes: {
      from: 'lines',
      key: {
        to: ([id]) => [idOfLine(String(id))],
        back: ([id]) => [lineOfId(Number(id))],
      },
      row: {
        to: (line) => {
          const { token, body, time } = plain(parsePythonLiteral(String(line['text']))) as Record<
            string,
            string | number
          >;
          return {
            id: idOfLine(String(line['id'])),
            token: token ?? null,
            body: body ?? null,
            changed_at: time ?? null,
          };
        },
        back: ({ id, token, body, changed_at }) => ({
          id: lineOfId(Number(id)),
          text: formatPythonLiteral({ token: String(token), body: String(body), time: float(Number(changed_at)) }),
        }),
      },
    },
  },
});

/** Replaced as a whole on the way back, and only when its rows have changed. */
const authors = sync({
  name: 'authors',
  from: document({
    files: { authors: path.join(legacyRoot, 'data/authors.json') },
    format: jsonFormat({ indent: 0 }),
    tables: {
      authors: {
        key: ['name'],
        columns: { name: 'text', notes: 'integer' },
        rows: ({ authors }) =>
          Object.entries((authors ?? {}) as Record<string, number>).map(([name, notes]) => ({ name, notes })),
      },
    },
    render: ({ authors }) => ({
      authors: Object.fromEntries(authors.map(({ name, notes }) => [String(name), Number(notes)])),
    }),
  }),
  to: target,
  tables: { authors: {} },
});

const FIRST_BYTE = -(2 ** 40);

function idOfLine(id: string): number {
  return id.startsWith('@') ? FIRST_BYTE + Number(id.slice(1)) : Number(id.slice('note-'.length));
}

function lineOfId(id: number): string {
  return id < 0 ? `@${id - FIRST_BYTE}` : `note-${id}`;
}

const pictures = files({
  name: 'pictures',
  from: path.join(legacyRoot, 'data/pictures'),
  to: path.join(nextRoot, 'data/pictures'),
});
const data: DataDefinition[] = [
  ...(NOTES_STORE === 'files' ? [fromLog, authors] : [fromSqlite]),
  ...(NOTES_PICTURES === 'no' ? [] : [pictures]),
];

export default defineChangeover({
  name: 'notes',
  legacy: {
    units: [
      command(node(NOTES_PROGRAMS.legacy), {
        name: 'legacy',
        url: `http://127.0.0.1:${String(legacyPort)}`,
        health: '/health',
        env: { PORT: String(legacyPort), ROOT: legacyRoot, STORE: NOTES_STORE },
        quiesce: { until: { path: '/idle', idle: (state) => (state as { idle: boolean }).idle } },
      }),
    ],
  },
  next: {
    units: [
      command(node(NOTES_PROGRAMS.next), {
        name: 'next',
        url: `http://127.0.0.1:${String(nextPort)}`,
        health: '/health',
        env: { PORT: String(nextPort), ...nextEnv },
        passive: { env: { PASSIVE: '1' }, activate: '/control/activate', passivate: '/control/passivate' },
        quiesce: { until: { path: '/idle', idle: (state) => (state as { idle: boolean }).idle } },
      }),
    ],
    setup: [
      { run: `test ! -e "${path.join(NOTES_FOLDER, 'fail-setup')}"` },
      { run: node(NOTES_PROGRAMS.nextSchema), env: nextEnv },
    ],
  },
  gateway: { listen: { host: '127.0.0.1', port: gatewayPort ?? 0 } },
  backup: {
    paths: [path.join(legacyRoot, '.env'), path.join(legacyRoot, 'data/pictures')],
    sqlite: NOTES_STORE === 'files' ? [] : [path.join(legacyRoot, 'data/notes.db')],
  },
  config: settings({
    from: [dotenv(path.join(legacyRoot, '.env'))],
    to: jsonFile(path.join(nextRoot, 'config/notes.json')),
    map: { PAGE_SIZE: { to: 'list.pageSize', type: 'integer' }, TITLE: 'title' },
  }),
  data,
  checks: [http('/health'), counts(), rows()],
});
