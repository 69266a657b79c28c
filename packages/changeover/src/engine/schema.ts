/** Marks the file as a journal of Changeover ("CHGO"). */
export const APPLICATION_ID = 0x4348474f;
export const SCHEMA_VERSION = 1;

export const SCHEMA = `
PRAGMA application_id = ${APPLICATION_ID};
PRAGMA user_version = ${SCHEMA_VERSION};

CREATE TABLE authority (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  side TEXT NOT NULL CHECK (side IN ('legacy', 'next')),
  state TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  version INTEGER NOT NULL,
  lease_until_ms REAL,
  lease_boot TEXT,
  operator_hold INTEGER NOT NULL,
  reason TEXT
) STRICT;
INSERT INTO authority VALUES (1, 'legacy', 'LIVE_OLD', 0, 1, NULL, NULL, 0, NULL);

CREATE TABLE owners (
  id INTEGER PRIMARY KEY,
  epoch INTEGER NOT NULL,
  pid INTEGER NOT NULL,
  start_time TEXT NOT NULL,
  command TEXT NOT NULL,
  host TEXT NOT NULL,
  since_ms INTEGER NOT NULL,
  released_ms INTEGER
) STRICT;

CREATE TABLE claims (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  pid INTEGER NOT NULL,
  start_time TEXT NOT NULL,
  command TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  plan TEXT NOT NULL,
  hash TEXT NOT NULL,
  spec TEXT NOT NULL,
  config_file TEXT NOT NULL,
  status TEXT NOT NULL,
  started_ms INTEGER NOT NULL,
  ended_ms INTEGER,
  progress REAL NOT NULL,
  remaining_ms REAL,
  undo_reason TEXT,
  undo_step TEXT,
  undo_ends_as TEXT
) STRICT;

CREATE TABLE steps (
  run TEXT NOT NULL,
  name TEXT NOT NULL,
  stage TEXT NOT NULL,
  number INTEGER NOT NULL,
  status TEXT NOT NULL,
  before TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  error TEXT,
  started_ms INTEGER NOT NULL,
  ended_ms INTEGER,
  PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
  run TEXT NOT NULL,
  number INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  level TEXT NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,
  actor TEXT NOT NULL,
  host TEXT NOT NULL,
  plan_hash TEXT,
  question TEXT NOT NULL,
  answer TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_keeps BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

CREATE TABLE reserve (space BLOB NOT NULL) STRICT;
`;
