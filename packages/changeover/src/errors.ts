/**
 * The catalogue of errors: every failure a user can meet, with its code, wording, exit code and remedy.
 * It imports nothing. `docs/errors.md` is the same list in prose, and a test holds the two together.
 *
 * Wording: what failed, on which named thing, what was expected and received. The hint says what to run next.
 * `{name}` in a message is a typed field of the error; a code is never reused.
 */

interface Entry {
  readonly message: string;
  /** Exit code of the command line: 1 failed, 2 the plan or the command is wrong, 3 paused for the operator. */
  readonly exit: 1 | 2 | 3;
  readonly hint: string;
}

export const CATALOGUE = {
  // plan
  // engine
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
    message: 'the two sides are not proven equal ({direction}): {count} checks did not pass, the first is {check}: {outcome}, {evidence}',
    exit: 1,
    hint: 'The side that served before serves on. Run `changeover verify` for the differing keys.',
  },
  // snapshot
  // config
  // data
  // traffic
  // verify
  // cli
} as const satisfies Record<string, Entry>;

export type ErrorCode = keyof typeof CATALOGUE;

type FieldsOf<Message extends string> = Message extends `${string}{${infer Name}}${infer Rest}`
  ? Name | FieldsOf<Rest>
  : never;

/** The named fields that the message of `Code` needs. */
export type ErrorFields<Code extends ErrorCode> = Readonly<
  Record<FieldsOf<(typeof CATALOGUE)[Code]['message']>, string | number>
>;

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
