/**
 * The catalogue of errors: every failure a user can meet, with its code, wording, exit code and remedy.
 * It imports nothing. `docs/errors.md` is the same list in prose, and a test holds the two together.
 *
 * Wording: what failed, on which named thing, what was expected and received. The hint says what to run next.
 * `{name}` in a message is a typed field of the error; a code is never reused.
 */

interface Entry {
  readonly message: string;
  /** Exit code of the command line: 1 failed, 2 the plan or the command is wrong, 3 paused for the operator, 130 interrupted. */
  readonly exit: 1 | 2 | 3 | 130;
  readonly hint: string;
}

export const CATALOGUE = {
  // plan
  CHG_PLAN_INVALID: {
    message: 'The plan has {count}; nothing was changed:\n{problems}',
    exit: 2,
    hint: 'Correct the plan as the arrows say, then run `changeover check`.',
  },
  CHG_PLAN_FILE: {
    message: 'the plan {file} cannot be used: {reason}',
    exit: 2,
    hint: 'Name the plan with --config FILE; it must export defineChangeover({...}) by default.',
  },
  CHG_PLAN_NO_URL: {
    message: 'no unit of the {side} side has an address, so the gateway has nowhere to send requests',
    exit: 2,
    hint: 'Give one unit a url: command(run, { url: "http://127.0.0.1:5001" }).',
  },
  CHG_PLAN_RATE: {
    message:
      '"{rate}" is not a rate: expected rows or bytes in a second, such as 5000rows or 20MB (B, kB, MB, GB); nothing was changed',
    exit: 2,
    hint: 'Write --max-rate 20MB, or --max-rate 5000rows; without it nothing but the source and its replicas limits the copy.',
  },
  // engine
  CHG_ENGINE_OWNED: {
    message: 'the journal is owned by process {pid} (`{command}`, on {host} since {since}); waited {waitedMs} ms',
    exit: 1,
    hint: 'Wait for it, or see `changeover status`. If process {pid} hangs, end it with `kill {pid}`: the journal is free as soon as it is gone, and the next command goes on from there.',
  },
  CHG_ENGINE_FENCED: {
    message:
      'this process owned the journal with epoch {epoch}, but {owner} took over with epoch {current}; nothing was changed',
    exit: 1,
    hint: 'Let the new owner finish; see `changeover status`.',
  },
  CHG_ENGINE_AUTHORITY_MOVED: {
    message:
      'the authority was changed by somebody else: expected version {expected}, found version {actual} in state {state}; nothing was changed',
    exit: 1,
    hint: 'See `changeover status`, then run the command again.',
  },
  CHG_ENGINE_JOURNAL_CORRUPT: {
    message: 'the journal {path} cannot be trusted: {detail}',
    exit: 1,
    hint: 'Keep the file and its -wal. Nobody is switched while it cannot be read: gateways hold. Put back a copy of the whole state folder, or point the plan at a new one.',
  },
  CHG_ENGINE_JOURNAL_LATER: {
    message:
      'the journal {path} was written by a later version of Changeover: format {found}, this version knows up to {known}',
    exit: 2,
    hint: 'Update Changeover to at least the version that wrote it; nothing was changed.',
  },
  CHG_ENGINE_JOURNAL_FULL: {
    message: 'the journal {path} cannot grow: no space is left on its disk; the last change was not made',
    exit: 1,
    hint: 'Free some space on the disk of {path} and run the command again: it goes on from the journal.',
  },
  CHG_ENGINE_JOURNAL_BUSY: {
    message: 'the journal {path} stayed locked by another process for {waitedMs} ms',
    exit: 1,
    hint: 'A process that is stopped inside a write holds it. `changeover status` names the owner; end it, then run the command again.',
  },
  CHG_ENGINE_JOURNAL_MISSING: {
    message: 'there is no journal at {path}',
    exit: 1,
    hint: 'Run `changeover run` first, or name the right plan with --config.',
  },
  CHG_ENGINE_JOURNAL_UNUSABLE: {
    message: 'the journal {path} cannot be opened or written: {detail}',
    exit: 1,
    hint: 'Check that the folder exists, that this user may write it, and that it is on a local disk.',
  },
  CHG_ENGINE_RUN_MISSING: {
    message: 'the journal has no run yet',
    exit: 2,
    hint: 'Run `changeover run`.',
  },
  CHG_ENGINE_RUN_UNFINISHED: {
    message: 'run {run} of this plan is {status}; a second run cannot start beside it',
    exit: 1,
    hint: 'Go on with it by `changeover run`, or go back by `changeover rollback`.',
  },
  CHG_ENGINE_PLAN_CHANGED: {
    message: 'the plan changed since run {run} was started with it:\n{difference}',
    exit: 3,
    hint: 'Put the plan back as it was and run the same command again, or go back with `changeover rollback` and start anew.',
  },
  CHG_ENGINE_STEP_DUPLICATE: {
    message: 'two steps of the plan have the same name {step}',
    exit: 2,
    hint: 'Give the parts of the plan different names.',
  },
  CHG_ENGINE_STEP_MISSING: {
    message: 'run {run} has started the step {step}, which the plan no longer has',
    exit: 3,
    hint: 'Put that part of the plan back, then run the command again.',
  },
  CHG_ENGINE_STEP_UNKNOWN: {
    message: 'the step {step} was interrupted and it cannot be seen whether it acted: {reason}',
    exit: 3,
    hint: 'Make what it works on reachable and run the same command again, or go back with `changeover rollback`.',
  },
  CHG_ENGINE_STEP_FAILED: {
    message: 'the step {step} failed: {reason}; everything that the run had added was undone',
    exit: 1,
    hint: 'The legacy serves as before. Remove the cause and run `changeover run` again.',
  },
  CHG_ENGINE_STEP_STOPPED: {
    message: 'the step {step} failed: {reason}; the new side serves, so nothing was undone',
    exit: 3,
    hint: 'Remove the cause and run the same command again, or go back with `changeover rollback`.',
  },
  CHG_ENGINE_UNDO_FAILED: {
    message: 'the step {step} could not be undone: {reason}',
    exit: 3,
    hint: 'Nothing else was undone since. Remove the cause and run the same command again: it goes on with this step.',
  },
  CHG_ENGINE_ROLLED_BACK: {
    message: 'run {run} was being rolled back ({reason}); this was brought to its end first',
    exit: 1,
    hint: 'The legacy serves as before. Run `changeover run` again for a new run.',
  },
  CHG_ENGINE_VERIFY_FAILED: {
    message: 'the step {step} acted, but its check failed: {check}: {evidence}',
    exit: 1,
    hint: 'See `changeover status` for all checks of the step.',
  },
  CHG_ENGINE_INTERRUPTED: {
    message: 'interrupted at {step}',
    exit: 130,
    hint: 'Run the same command again: it goes on from there.',
  },
  CHG_ENGINE_FAULT: {
    message: 'fault injected at {point}',
    exit: 1,
    hint: 'Unset CHANGEOVER_FAULT.',
  },
  CHG_ENGINE_FAULT_INVALID: {
    message: 'CHANGEOVER_FAULT={value} is not understood: {reason}',
    exit: 2,
    hint: 'Write point[#pass]:kill, :stop or :throw, e.g. engine.step.acted#2:kill.',
  },
  CHG_ENGINE_UNIT_EXITED: {
    message: 'the unit {name} ended while it was being started: {how}{log}',
    exit: 1,
    hint: 'Run its command by hand, or see {path}.',
  },
  CHG_ENGINE_UNIT_HUNG: {
    message: 'the unit {name} (process {pid}) runs, but {url} gave no answer within {waitedMs} ms{log}',
    exit: 1,
    hint: 'See {path}; raise startTimeoutMs if it only needs longer.',
  },
  CHG_ENGINE_UNIT_UNHEALTHY: {
    message: 'the unit {name} (process {pid}) is not healthy: {url} answered {answer} for {waitedMs} ms{log}',
    exit: 1,
    hint: 'See {path}.',
  },
  CHG_ENGINE_UNIT_PORT_BUSY: {
    message: 'the port {port} of the unit {name} is used by {who}, and {url} gave {answer}',
    exit: 1,
    hint: 'End that process or give the unit another port.',
  },
  CHG_ENGINE_UNIT_UNSTOPPABLE: {
    message: 'the unit {name} still runs as {who}, {waitedMs} ms after SIGKILL',
    exit: 1,
    hint: 'See `ps -o pid,stat,wchan,user,cmd -p PID`: it hangs in the kernel, belongs to another user, or somebody starts it again.',
  },
  CHG_ENGINE_UNIT_FOREIGN: {
    message: 'the unit {name} cannot be given {signal}: its process {pid} belongs to another user',
    exit: 1,
    hint: 'Run the command as the user of the unit, or as root.',
  },
  CHG_ENGINE_UNIT_NO_URL: {
    message: 'the unit {name} cannot be told to {what}: it has no url',
    exit: 2,
    hint: 'Give the unit a url in the plan.',
  },
  CHG_ENGINE_UNIT_RECORD: {
    message: 'what is known of a started unit cannot be read from {path}: {detail}',
    exit: 1,
    hint: 'Find out whether the unit runs, end it, delete {path}, then run the same command again.',
  },
  CHG_ENGINE_UNIT_HOOK_FAILED: {
    message: 'the unit {name} did not {what}: POST {url} gave {answer}',
    exit: 1,
    hint: "See the unit's log, then run the same command again.",
  },
  CHG_ENGINE_UNIT_NOT_RUNNING: {
    message: 'the unit {name} does not run, so it cannot {what}',
    exit: 1,
    hint: 'Start it, then run the same command again.',
  },
  CHG_ENGINE_NOT_IDLE: {
    message: 'the unit {name} was not seen idle before the deadline: {url} gave {answer}',
    exit: 1,
    hint: 'The old side serves on. Try at a quieter time, or raise the deadline of quiesce.',
  },
  CHG_ENGINE_CHECK_FAILED: {
    message: 'the systems are not ready for a run, {count} findings:\n{list}',
    exit: 2,
    hint: 'Nothing was changed. Mend what is listed and run `changeover check` until it is clean.',
  },
  CHG_ENGINE_SETUP_FAILED: {
    message: 'the setup command of the new side ended with {code}: {command}\n{output}',
    exit: 1,
    hint: 'Run the command by hand until it works, then `changeover run` again.',
  },
  CHG_ENGINE_NOT_READY: {
    message: '`{verb}` needs {expected}, but {state}',
    exit: 2,
    hint: 'Nothing was changed. Run `changeover status` for the next command.',
  },
  CHG_CUTOVER_DEADLINE: {
    message: 'the switch was given up in state {state}: the deadline of the hold passed',
    exit: 1,
    hint: 'The old side serves on and nothing was lost. See `changeover status`, then raise cutover.hold.deadline or run `changeover cutover` at a quieter time.',
  },
  CHG_CUTOVER_INTERRUPTED: {
    message: 'the switch was given up in state {state}: the operator interrupted it',
    exit: 1,
    hint: 'The old side serves on. Run `changeover cutover` again when ready.',
  },
  CHG_CUTOVER_LEGACY_RUNS: {
    message:
      'process {pid} runs as {name} or has its address ({url}), where nothing should run while the new side serves',
    exit: 1,
    hint: 'The new side serves on. End that process, then run the same command again; what it wrote into the legacy is in no other place.',
  },
  CHG_CUTOVER_RUNNER_LOST: {
    message: 'the process that ran the switch died in state {state}',
    exit: 1,
    hint: 'The keeper put the old side back in service. Run `changeover cutover` again.',
  },
  CHG_CUTOVER_SETTINGS_CHANGED: {
    message: 'settings of the legacy were edited after they were moved',
    exit: 1,
    hint: 'The old side serves on. Run `changeover rollback` and then `changeover run`, so that the new settings are moved too.',
  },
  CHG_CUTOVER_UNPROVEN: {
    message:
      'the two sides are not proven equal ({direction}): {count} checks did not pass, the first is {check}: {outcome}, {evidence}',
    exit: 1,
    hint: 'The side that served before serves on. Run `changeover verify` for the differing keys.',
  },
  // snapshot
  CHG_SNAPSHOT_ID_INVALID: {
    message: 'The snapshot id {id} is not usable as the name of a folder.',
    exit: 2,
    hint: 'Use letters, digits, dots, dashes and underscores, at most 128 of them.',
  },
  CHG_SNAPSHOT_PATH_MISSING: {
    message: 'The backup names {path}, but nothing is at {absolute}.',
    exit: 2,
    hint: 'Correct backup.paths or backup.sqlite in the plan, then run `changeover check`.',
  },
  CHG_SNAPSHOT_COPY_FAILED: {
    message: 'The backup cannot copy {path}: {reason}. The snapshot {id} is not taken; what is copied stays.',
    exit: 1,
    hint: 'Remove the cause and run the same command again: it copies only what is missing.',
  },
  CHG_SNAPSHOT_UNSTABLE: {
    message: 'The backup copied {path} {attempts} times and it changed each time. The snapshot {id} is not taken.',
    exit: 1,
    hint: 'Pause what writes {path} (legacy.writers), or name it in backup.sqlite if it is a database.',
  },
  CHG_SNAPSHOT_SQLITE_FAILED: {
    message: 'The backup cannot copy the SQLite database {path}: {reason}. The snapshot {id} is not taken.',
    exit: 1,
    hint: 'Run `sqlite3 {path} "PRAGMA quick_check"`; a database that never stops changing needs WAL or a paused writer.',
  },
  CHG_SNAPSHOT_MOUNT_INSIDE: {
    message: 'Another file system is mounted at {mount}, inside {path}.',
    exit: 2,
    hint: 'Unmount it, or name the folders beside the mount point in backup.paths instead of {path}.',
  },
  CHG_SNAPSHOT_NOT_TAKEN: {
    message: 'There is no complete snapshot {id} in {folder}.',
    exit: 2,
    hint: 'Run `changeover restore` to see which snapshots exist.',
  },
  CHG_SNAPSHOT_DAMAGED: {
    message: 'The snapshot {id} is damaged: {reason}.',
    exit: 1,
    hint: 'Restore another snapshot. Nothing outside the snapshot was changed.',
  },
  CHG_SNAPSHOT_NO_SPACE: {
    message: 'Restoring {path} needs {needed} beside it, and {available} are free. Nothing was changed.',
    exit: 1,
    hint: 'Free space on that file system, then run the same command again.',
  },
  CHG_SNAPSHOT_RESTORE_FAILED: {
    message: 'Restoring {path} failed: {reason}. What was there before is in place, or in {aside}.',
    exit: 1,
    hint: 'Remove the cause and run `changeover restore` again.',
  },
  // config
  CHG_CONFIG_INVALID: {
    message: 'The settings cannot be moved: {count} problems. {problems}',
    exit: 2,
    hint: 'Run `changeover check` for all of them with their lines.',
  },
  CHG_CONFIG_DEFINITION: {
    message: 'settings(): {what}.',
    exit: 2,
    hint: 'Correct the settings in the plan, then run `changeover check`.',
  },
  CHG_CONFIG_WRITE_FAILED: {
    message: 'The settings file {file} cannot be written: {reason}. It is as it was.',
    exit: 1,
    hint: 'Correct its rights or free space, then run the same command again.',
  },
  CHG_CONFIG_UNDO_LOST: {
    message: 'The former content of {file} is not in {saved}: {reason}.',
    exit: 3,
    hint: 'Put {file} back by hand (`changeover restore` has the backup), then run the same command again.',
  },
  // data
  CHG_DATA_STORE_MISSING: {
    message: '{store}: the file does not exist',
    exit: 2,
    hint: 'Correct the path in the plan, or let `next.setup` make the store before the data stage.',
  },
  CHG_DATA_STORE_UNREACHABLE: {
    message: '{store}: no connection: {reason}',
    exit: 1,
    hint: 'See that the database runs and that the address in the plan is right, then run the same command again.',
  },
  CHG_DATA_STORE_BUSY: {
    message: '{store}: still locked by another process after {waitedMs} ms',
    exit: 1,
    hint: 'Find the long transaction on {store}, end it, and run the same command again.',
  },
  CHG_DATA_SLOT_FAILED: {
    message: '{store}: no replication slot could be made: {reason}',
    exit: 1,
    hint: 'Run `changeover check` to see what is missing, end long transactions on {store}, and run the same command again.',
  },
  CHG_DATA_SLOT_LOST: {
    message: '{store}: the log that the replication slot {slot} kept for us is gone: {reason}',
    exit: 1,
    hint: 'Raise max_slot_wal_keep_size and idle_replication_slot_timeout on {store}, and run the same command again: the tables are captured anew and compared whole.',
  },
  CHG_DATA_NO_REPLICA_IDENTITY: {
    message: '{store}: the write-ahead log does not name the rows of {table} by {key}',
    exit: 1,
    hint: 'Run `ALTER TABLE {table} REPLICA IDENTITY USING INDEX …` with the unique index of {key}, or let the plan capture with triggers.',
  },
  CHG_DATA_STORE_FULL: {
    message: '{store}: no space is left for what is to be written',
    exit: 1,
    hint: 'Free some space for {store}, then run the same command again; nothing of the last transaction was kept.',
  },
  CHG_DATA_STORE_FAILED: {
    message: '{store}: {action} failed: {reason}',
    exit: 1,
    hint: 'Run `changeover check`; nothing of this transaction was kept.',
  },
  CHG_DATA_EPOCH_STALE: {
    message: '{store}: this process acts for epoch {epoch}, the gate is at {gate}',
    exit: 1,
    hint: 'Another process took over; run `changeover status`.',
  },
  CHG_DATA_TABLE_MISSING: {
    message: '{store}: there is no table {table}',
    exit: 2,
    hint: 'Correct the table in the plan, or let `next.setup` make it.',
  },
  CHG_DATA_TABLE_KEYLESS: {
    message: '{store}: table {table} has no primary key and no unique index over columns that are NOT NULL',
    exit: 2,
    hint: 'Give {table} a primary key; its rows cannot be told apart without one.',
  },
  CHG_DATA_KEY_NULL: {
    message: '{store}: table {table} has rows with NULL in their key ({condition})',
    exit: 2,
    hint: 'Give these rows a key: SELECT * FROM {table} WHERE {condition}',
  },
  CHG_DATA_KEY_UNMAPPED: {
    message: 'data.{sync}: {table}: its key ({target}) does not follow from the key of the source ({source})',
    exit: 2,
    hint: 'Give {table} a `key` with `to` and `back`: deletes carry the key alone.',
  },
  CHG_DATA_KEY_MISMATCH: {
    message:
      'data.{sync}: {table}: the row function made key {made} from source key {source}, `key.to` says {expected}',
    exit: 2,
    hint: 'Make `row.to` and `key.to` of {table} agree; deletes find their row by `key.to`.',
  },
  CHG_DATA_KEY_NOT_INVERSE: {
    message: 'data.{sync}: {table}: `key` makes {target} from {source}, but back from it {back}',
    exit: 2,
    hint: 'Make `key.to` and `key.back` of {table} inverse; two rows could take each other for the same one.',
  },
  CHG_DATA_TEXT_INVALID: {
    message: '{store}: {table}.{column} holds text that is not valid UTF-8, in the row with key {key}',
    exit: 1,
    hint: 'Correct the row, or store the value as a blob.',
  },
  CHG_DATA_MAPPING_FAILED: {
    message: 'data.{sync}: {table}: the row function failed on key {key}: {reason}',
    exit: 1,
    hint: 'Correct the function in the plan, then run the same command again.',
  },
  CHG_DATA_VALUE_UNFIT: {
    message: 'sync {sync}: the row {key} of {table} has a value that its new column cannot hold: {reason}',
    exit: 1,
    hint: 'Correct the value in the legacy, or name another type for the column in the plan: schema: { columns: { … } }. `changeover check` lists all such rows.',
  },
  CHG_DATA_SCHEMA_DIFFERS: {
    message: '{store}: the table {table} is there already, and is not what would be made: {difference}',
    exit: 1,
    hint: 'Drop it if nothing needs it and let the run make it, or move it in a sync of its own without `schema`.',
  },
  CHG_DATA_SCHEMA_REFUSED: {
    message: '{store} refused `{statement}`: {reason}',
    exit: 1,
    hint: 'Correct what the message names, or leave that part out: schema: { omit: [NAME] } with the name that `changeover plan --full` shows. What the run made is removed again.',
  },
  CHG_DATA_EXPAND_REFUSED: {
    message: '{store} refused `{statement}`: {reason}',
    exit: 1,
    hint: 'Correct what the message names in the rows or in the expand() of the plan, then run the same command again; `changeover check` looks at all of it beforehand. `changeover rollback` takes away what was added.',
  },
  CHG_DATA_EXPRESSION_INVALID: {
    message: '{store}: {table} has no value for the expression `{expression}`: {reason}',
    exit: 2,
    hint: 'Correct the expression in the plan: it is SQL of this store over the columns of one row of {table}.',
  },
  CHG_DATA_LOOKUP_UNKNOWN: {
    message: 'data.{sync}: a row function looked up {table}, which no sync of this store names',
    exit: 2,
    hint: 'Name {table} in the plan; changes of a table that is not captured would be missed.',
  },
  CHG_DATA_ROW_REFUSED: {
    message: '{store}: {table} refuses the row with key {key}: {reason}',
    exit: 1,
    hint: 'Correct the row or the mapping of {table}, then run the same command again.',
  },
  CHG_DATA_LOCK_TIMEOUT: {
    message: '{store}: no lock on {tables} after {waitedMs} ms; held by {holders}',
    exit: 1,
    hint: 'End the long transaction or repeat when it has ended.',
  },
  CHG_DATA_CAPTURE_BROKEN: {
    message: '{store}: the capture of changes is not intact: {what}',
    exit: 1,
    hint: 'Run the same command again: the tables are compared whole and captured anew.',
  },
  CHG_DATA_SCHEMA_CHANGED: {
    message: '{store}: its tables changed while they are moved, and the plan would lose something now: {what}',
    exit: 2,
    hint: 'Correct the plan or the new schema, see `changeover check`, then run the same command again.',
  },
  CHG_DATA_FENCED: {
    message: '{store}: {table} is not locked, so it cannot be fenced',
    exit: 1,
    hint: 'Run `changeover status`.',
  },
  CHG_DATA_SLICE_UNKNOWN: {
    message: 'there is no slice {slice}: {reason}',
    exit: 2,
    hint: 'Name a value of the column that `slices` in the plan names; `changeover status` lists them.',
  },
  CHG_DATA_SLICE_UNSUPPORTED: {
    message: '{store}: its rows cannot be moved slice by slice',
    exit: 2,
    hint: 'Use SQLite, or Postgres with `capture: triggers`, or leave `slices` out of the plan to move everything at once.',
  },
  CHG_DATA_SIDECAR: {
    message: 'the state of files in {file} cannot be read or written: {reason}',
    exit: 1,
    hint: 'Check that this user may write the folder and that no stopped process holds the file, then run the same command again.',
  },
  CHG_DATA_LOG_GROWS: {
    message: '{store}: a log only grows, so it cannot be emptied',
    exit: 1,
    hint: 'Move the file away yourself if a new run is to begin with an empty log.',
  },
  CHG_DATA_LOG_POSITION: {
    message: '{store}: there is no line {id} to go on from; the file was truncated, rotated or replaced',
    exit: 1,
    hint: 'Run the same command again: the log is compared whole.',
  },
  CHG_DATA_LOG_TAIL: {
    message:
      '{store}: {bytes} bytes after offset {offset} are neither lines of ours nor a part of them; an append was interrupted and somebody wrote after it',
    exit: 3,
    hint: 'Stop whatever writes to {store}, look at the lines from that offset, and remove the half line by hand; then run the same command again.',
  },
  CHG_DATA_DOCUMENT_BROKEN: {
    message: '{file} is no {format}: {reason}; nothing was changed',
    exit: 1,
    hint: 'Put back a whole {file}, or let its program write it again, then run the same command again.',
  },
  CHG_DATA_DOCUMENT_TORN: {
    message: '{file} kept changing while it was read, for {waitedMs} ms',
    exit: 1,
    hint: 'Find what writes {file} without end; it must be readable as a whole for a moment.',
  },
  CHG_DATA_DOCUMENT_ROWS: {
    message: '{store}: the rows of table {table} cannot be made: {reason}',
    exit: 2,
    hint: 'Correct `rows` of {table} in the plan; each row needs its own key.',
  },
  CHG_DATA_DOCUMENT_LOSSY: {
    message:
      '{store}: `render` and `rows` do not fit together: the rows of {table} would not be the same again; nothing was changed',
    exit: 2,
    hint: 'Correct `render` in the plan so that `rows` of its result gives the same rows.',
  },
  CHG_DATA_DOCUMENT_READ_ONLY: {
    message: '{store}: its rows changed, and the plan gives no `render` to write them',
    exit: 2,
    hint: 'Add `render` to the document in the plan.',
  },
  CHG_DATA_DOCUMENT_CHANGED: {
    message: '{store}: {file} was changed by somebody else while it was being replaced; it was left alone',
    exit: 1,
    hint: 'Stop whatever writes {file}, then run the same command again.',
  },
  CHG_DATA_FILES_UNMOVABLE: {
    message: '{folder}: {file} is {what}; only plain files are moved',
    exit: 1,
    hint: 'Remove it, or leave it out by `only` in the plan, then run the same command again.',
  },
  CHG_DATA_FILES_TARGET_USED: {
    message: '{folder} holds {count} files that are not from {source}, e.g. {file}; nothing was changed',
    exit: 2,
    hint: 'Move them away, or leave them out by `only` in the plan.',
  },
  CHG_DATA_FILES_SOURCE_GONE: {
    message: '{folder} does not exist any more, though {count} files came from it; nothing was deleted',
    exit: 1,
    hint: 'Mount or restore {folder}, then run the same command again. An empty folder stands for deleted files, a missing one does not.',
  },
  CHG_DATA_FILES_TORN: {
    message: '{folder}: {count} files still change though nothing should write them, e.g. {file}',
    exit: 1,
    hint: 'Find what writes to {folder} and name it in `legacy.writers`.',
  },
  CHG_DATA_PYTHON_SYNTAX: {
    message: 'no Python literal: {reason} at column {column}',
    exit: 1,
    hint: 'Look at the text at that column. Nothing is evaluated: only what `repr` writes for built-in values and numpy scalars is read.',
  },
  CHG_DATA_PYTHON_NO_COUNTERPART: {
    message: '{what} cannot be written as {target}',
    exit: 1,
    hint: 'Turn it into lists, tuples, dicts, strings and numbers first.',
  },
  CHG_DATA_PICKLE_REFUSED: {
    message:
      'the pickle is refused: it asks for {name} at byte {offset}; only built-in values and numpy arrays of numbers are read, and no code is ever run',
    exit: 1,
    hint: 'See what wrote the file with `python3 -m pickletools FILE`. Save it again with lists, dicts, strings and arrays only.',
  },
  CHG_DATA_PICKLE_BROKEN: {
    message: 'the pickle cannot be read: {reason} (byte {offset})',
    exit: 1,
    hint: 'See where it ends with `python3 -m pickletools FILE`; put back the file from a backup, or let its program write it again.',
  },
  CHG_DATA_NDARRAY: {
    message: 'the numpy value {what} does not fit: expected {expected}, received {received}',
    exit: 1,
    hint: 'Compare shape, dtype and the number of bytes.',
  },
  // traffic
  CHG_TRAFFIC_TARGET_INVALID: {
    message:
      'the {side} side has the target "{target}"; expected scheme, host and port alone, such as http://127.0.0.1:5001',
    exit: 2,
    hint: 'Correct the url of the unit in the plan, then run `changeover check`.',
  },
  CHG_TRAFFIC_PORT_BUSY: {
    message: 'the gateway cannot listen on {host}:{port}: {holder} listens there',
    exit: 1,
    hint: 'Move that service to another port, or give the gateway another one in gateway.listen, then run `changeover traffic start`.',
  },
  CHG_TRAFFIC_NO_WORKER: {
    message:
      'the gateway on {host}:{port} does not admit requests after {waitedMs} ms; the last lines of {log}:\n{lines}',
    exit: 1,
    hint: 'Correct what the log says, then run `changeover traffic start`.',
  },
  CHG_TRAFFIC_RUNNING_DIFFERENTLY: {
    message: 'the gateway on {host}:{port} already runs (process {pid}), with other settings than the plan has now',
    exit: 1,
    hint: 'Run `changeover traffic stop` and then `changeover traffic start`.',
  },
  CHG_TRAFFIC_NOT_STOPPED: {
    message: 'the gateway on {host}:{port} still runs after {waitedMs} ms: processes {pids}',
    exit: 1,
    hint: 'Run `changeover traffic stop` again, or end these processes.',
  },
  CHG_TRAFFIC_NOT_ACKNOWLEDGED: {
    message: 'not every gateway worker follows version {version} of the authority: {workers}',
    exit: 1,
    hint: 'The hold is not complete, so nothing was switched. See `changeover status`, then try again.',
  },
  CHG_TRAFFIC_NOT_DRAINED: {
    message: '{count} requests to the {side} side were still in flight at the deadline of the drain',
    exit: 1,
    hint: 'Nothing was switched. Raise cutover.drain.deadline or try again when no long request runs.',
  },
  CHG_TRAFFIC_REPORT_DAMAGED: {
    message: '{file}: the report of a gateway worker cannot be read, so nobody knows what it admits',
    exit: 1,
    hint: 'End that worker (its pid begins the name of the file), remove the file, and run the same command again.',
  },
  CHG_TRAFFIC_STARTED_BY_HAND: {
    message: 'this process of the gateway was started without its settings ({variable} is not set)',
    exit: 2,
    hint: 'Run `changeover traffic start`, which starts it.',
  },
  CHG_TRAFFIC_BACKEND_FAILED: {
    message: 'the {side} side at {target} did not answer: {reason}',
    exit: 1,
    hint: 'See that its process runs and listens there: `changeover status`.',
  },
  CHG_TRAFFIC_HOLD_FULL: {
    message: 'requests are held while the sides switch, and {held} are already waiting',
    exit: 1,
    hint: 'Send the request again.',
  },
  CHG_TRAFFIC_HELD_TOO_LONG: {
    message: 'requests are held while the sides switch, and this one has waited for {limitMs} ms',
    exit: 1,
    hint: 'Send the request again.',
  },
  CHG_TRAFFIC_STOPPING: {
    message: 'the gateway is being stopped while requests are held',
    exit: 1,
    hint: 'Send the request again.',
  },
  CHG_TRAFFIC_REQUEST_MALFORMED: {
    message: 'the request was refused because it has {reason}',
    exit: 1,
    hint: 'Correct the client: servers could read this message in different ways.',
  },
  // verify
  CHG_VERIFY_CHECK: {
    message: 'the check {check} cannot be made: {reason}',
    exit: 2,
    hint: 'Correct it in `checks` of the plan, then run `changeover check`.',
  },
  // cli
  CHG_CLI_USAGE: {
    message: '{problem}',
    exit: 2,
    hint: 'Run `{help}` to see what can be written.',
  },
  CHG_CLI_NO_PLAN: {
    message: 'there is no plan at {file}',
    exit: 2,
    hint: 'Run it in the folder of the plan, or name the plan with --config FILE.',
  },
  CHG_CLI_NEEDS_YES: {
    message: '`changeover {verb}` asks before it changes anything, and here is nobody to answer',
    exit: 2,
    hint: 'Run `{command}` to go on without the question.',
  },
  CHG_CLI_UNEXPECTED: {
    message: 'unexpected: {problem}',
    exit: 1,
    hint: 'Run `changeover status` to see how far it came; CHANGEOVER_DEBUG=1 shows where it happened.',
  },
} as const satisfies Record<string, Entry>;

export type ErrorCode = keyof typeof CATALOGUE;

// Braces around anything but a name are part of the text: `defineChangeover({...})`.
type FieldsOf<Message extends string> = Message extends `${string}{${infer Name}}${infer Rest}`
  ? (Name extends `${string}${' ' | '.'}${string}` ? never : Name) | FieldsOf<Rest>
  : never;

/** The named fields that the message and the hint of `Code` need. */
export type ErrorFields<Code extends ErrorCode> = Code extends ErrorCode
  ? Readonly<Record<FieldsOf<(typeof CATALOGUE)[Code]['message' | 'hint']>, string | number>>
  : never;

/** One failure from the catalogue. `cause` keeps what led to it. */
export class ChangeoverError<Code extends ErrorCode = ErrorCode> extends Error {
  override readonly name = 'ChangeoverError';
  readonly code: Code;
  readonly fields: ErrorFields<Code>;
  readonly exitCode: number;
  readonly hint: string;

  constructor(code: Code, fields: ErrorFields<Code>, options: { readonly cause?: unknown } = {}) {
    const entry: Entry = CATALOGUE[code];
    super(render(entry.message, fields), options);
    this.code = code;
    this.fields = fields;
    this.exitCode = entry.exit;
    this.hint = render(entry.hint, fields);
  }
}

function render(template: string, fields: Readonly<Record<string, string | number>>): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = fields[name];
    return value === undefined ? whole : String(value);
  });
}
