import type { Store } from '../plan/stores.ts';
import type { Expression } from '../plan/sync.ts';
import { isSign, isWord, tokensOf, type Token } from './schema/tokens.ts';

type Kind = Store['kind'];

/** Words and functions whose value depends on the time, on chance, on the session or on what was written before. */
const CHANGING = new Set(
  [
    'now current_timestamp current_time current_date localtime localtimestamp clock_timestamp statement_timestamp',
    'transaction_timestamp timeofday sysdate curdate curtime utc_date utc_time utc_timestamp unix_timestamp unixepoch',
    'random randomblob rand random_normal setseed uuid uuid_short sys_guid gen_random_uuid uuidv4 uuidv7 uuid_generate_v1 uuid_generate_v4',
    'nextval currval lastval setval last_insert_rowid last_insert_id changes total_changes row_count found_rows',
    'current_user session_user user current_role connection_id pg_backend_pid txid_current pg_current_xact_id version database',
    'current_database current_schema current_setting sleep pg_sleep',
  ].flatMap((line) => line.split(' ')),
);
/** A column may be called so as well; then it stands without a bracket. */
const ONLY_AS_FUNCTION = new Set('user version database changes now random rand uuid sleep'.split(' '));
/** Functions of SQLite that read the clock where they are given no time. */
const DATE_FUNCTIONS = ['DATE', 'TIME', 'DATETIME', 'JULIANDAY', 'STRFTIME'];

/** What an expression's text alone shows to be wrong with it. */
export function checkExpressionText(
  { expression, back, givesUp }: Expression,
  kinds: readonly [from: Kind, to: Kind],
): { message: string; remedy: string }[] {
  const problems = [];
  if (back === undefined && (givesUp ?? '') === '')
    problems.push({
      message: `nothing says how \`${expression}\` goes back`,
      remedy: "give the expression a `back`, or `givesUp: '…'` with what a rollback then does not return",
    });
  const sides = [[expression, kinds[0]], ...Object.values(back ?? {}).map((sql) => [sql, kinds[1]] as const)] as const;
  for (const [sql, kind] of sides) {
    if (kind === 'log' || kind === 'document')
      problems.push({
        message: `a ${kind} computes no expressions, and \`${sql}\` is one`,
        remedy: 'use `row` with `to` and `back`: functions in TypeScript',
      });
    const reason = reasonAgainst(tokensOf(sql, kind === 'sqlite' ? 'sqlite' : 'other'), kind);
    if (reason !== null)
      problems.push({
        message: `\`${sql}\` ${reason}`,
        remedy: 'use an expression of the columns of one row alone, or `row` with `to` and `back`',
      });
  }
  return problems;
}

function reasonAgainst(tokens: readonly Token[], kind: Kind): string | null {
  if (tokens.length === 0) return 'is empty';
  if (tokens.some((token) => isSign(token, ';'))) return 'is more than an expression: it has a `;`';
  if (tokens.some((token) => isWord(token, 'SELECT')))
    return 'reads other rows, whose changes would not reach this one';
  if (tokens.some((token, index) => isWord(token, 'OVER') && isSign(tokens[index + 1], '(')))
    return 'depends on the other rows of the table';
  if (kind === 'sqlite' && tokens.some((token) => isSign(token, '?')))
    return 'has a parameter `?`, and nothing gives it a value';
  for (const [index, token] of tokens.entries()) {
    const word = token.value.toLowerCase();
    const isCall = isSign(tokens[index + 1], '(');
    const isNamed = token.kind === 'word' && !isSign(tokens[index - 1], '.');
    if (isNamed && CHANGING.has(word) && (isCall || !ONLY_AS_FUNCTION.has(word)))
      return `gives another value each time: ${token.value}`;
    const isClock = kind === 'sqlite' && isCall && isWord(token, ...DATE_FUNCTIONS) && readsClock(tokens, index + 1);
    if (isClock) return `gives another value each time: ${token.value} of 'now'`;
  }
  return null;
}

/** `date()` and `date('now', …)`. */
function readsClock(tokens: readonly Token[], open: number): boolean {
  let depth = 0;
  for (let index = open; index < tokens.length; index++) {
    const token = tokens[index];
    if (isSign(token, '(')) depth += 1;
    if (isSign(token, ')') && --depth === 0) return index === open + 1;
    if (token?.kind === 'text' && token.value.toLowerCase() === 'now') return true;
  }
  return false;
}
