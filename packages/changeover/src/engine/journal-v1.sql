PRAGMA application_id = 1128810319;
PRAGMA user_version = 1;

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
INSERT INTO authority (id, side, state, epoch, version, lease_until_ms, lease_boot, operator_hold, reason) VALUES (1, 'legacy', 'HOLD', 2, 3, 123456.5, 'b1', 0, NULL);
INSERT INTO owners (id, epoch, pid, start_time, command, host, since_ms, released_ms) VALUES (1, 2, 20962, '418419', 'changeover run', 'pi', 1795258932613, 1795258932681);
INSERT INTO runs (number, id, plan, hash, spec, config_file, status, started_ms, ended_ms, progress, remaining_ms, undo_reason, undo_step, undo_ends_as) VALUES (1, '20261121-110212-3d1f83', 'doorbell', '9f2c', '{"name":"doorbell","units":["legacy"]}', '/srv/doorbell/changeover.config.ts', 'running', 1795258932666, NULL, 0.2, 60000, NULL, NULL, NULL);
INSERT INTO steps (run, name, stage, number, status, before, attempts, error, started_ms, ended_ms) VALUES ('20261121-110212-3d1f83', 'take the backup', 'backup', 1, 'done', 'null', 1, NULL, 1795258932671, 1795258932672);
INSERT INTO steps (run, name, stage, number, status, before, attempts, error, started_ms, ended_ms) VALUES ('20261121-110212-3d1f83', 'write settings', 'config', 2, 'started', '{"config/pipeline.json":null}', 1, NULL, 1795258932673, NULL);
INSERT INTO messages (run, number, at_ms, level, text) VALUES ('20261121-110212-3d1f83', 1, 1795258932674, 'warning', 'no target for FBI_API_URL');
INSERT INTO facts (name, value) VALUES ('settings.sourceHash', '"abc"');
INSERT INTO audit (number, at_ms, actor, host, plan_hash, question, answer) VALUES (1, 1795258932677, 'ann', 'pi', '9f2c', 'Start the run?', 'yes');
