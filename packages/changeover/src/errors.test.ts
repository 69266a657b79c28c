import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { CATALOGUE, ChangeoverError, type ErrorCode, type ErrorFields } from './errors.ts';

const entries = Object.entries(CATALOGUE) as [ErrorCode, { message: string; hint: string; exit: number }][];
const FIELD = /\{(\w+)\}/g;
const DOCS = new URL('../../../docs/errors.md', import.meta.url);

const DOING =
  /^(add|check|choose|compare|correct|delete|end|find|free|give|go|keep|let|look|make|mend|move|name|pause|put|raise|remove|restore|run|save|see|send|start|stop|turn|try|unmount|unset|update|use|wait|write)\b/i;

/** `docs/errors.md`, from the catalogue. */
function documented(): string {
  const sections = Map.groupBy(entries, ([code]) => code.split('_')[1]?.toLowerCase() ?? '');
  const cell = (text: string) => text.replaceAll('\n', ' ').replaceAll('|', '\\|').replaceAll('<', '&lt;');
  return [
    '# Errors',
    '',
    'Every failure has a code that is never used for anything else. The command line shows it with what led to it, the state that is',
    'left, and the remedy; with `--json` it is the line `{"event":"error","code":…,"message":…,"hint":…,"exitCode":…}`.',
    'Names in braces stand for what the message names. The exit code is 1 (failed and rolled back, or nothing was changed), 2 (the plan',
    'or the command is wrong), 3 (paused, waiting for the operator) or 130 (interrupted; the same command goes on).',
    ...[...sections].flatMap(([section, rows]) => [
      '',
      `## ${section}`,
      '',
      '| code | exit | what happened | what to do |',
      '| --- | --- | --- | --- |',
      ...rows.map(([code, { exit, message, hint }]) => `| \`${code}\` | ${exit} | ${cell(message)} | ${cell(hint)} |`),
    ]),
    '',
  ].join('\n');
}

describe('the catalogue of errors', () => {
  it('is what docs/errors.md lists (UPDATE=1 rewrites it)', () => {
    if (process.env['UPDATE'] === '1') writeFileSync(DOCS, documented());
    expect(readFileSync(DOCS, 'utf8')).toBe(documented());
  });

  it('is the union of codes that the type exports', () => {
    expectTypeOf<ErrorCode>().toEqualTypeOf<keyof typeof CATALOGUE>();
    expectTypeOf<ErrorFields<'CHG_PLAN_INVALID'>>().toEqualTypeOf<
      Readonly<Record<'count' | 'problems', string | number>>
    >();
    expectTypeOf<ErrorFields<'CHG_PLAN_FILE'>>().toEqualTypeOf<Readonly<Record<'file' | 'reason', string | number>>>();
  });

  it.each(entries)('%s renders its message and hint with every field', (code, { message, hint, exit }) => {
    const names = [...`${message} ${hint}`.matchAll(FIELD)].map(([, name = '']) => name);
    const fields = Object.fromEntries(names.map((name) => [name, `<${name}>`]));
    const cause = new Error('what led to it');
    const error = new ChangeoverError(code, fields, { cause });
    expect(`${error.message} ${error.hint}`).not.toMatch(FIELD);
    for (const name of names) expect(`${error.message} ${error.hint}`).toContain(`<${name}>`);
    expect(error).toMatchObject({ code, exitCode: exit, cause, name: 'ChangeoverError' });
    expect(error).toBeInstanceOf(Error);
  });

  it.each(entries)('%s has a hint that says something to run or to do', (_code, { hint }) => {
    const clauses = hint.split(/[.;:,]\s+|\bor\b/).map((clause) => clause.trim());
    expect(clauses.some((clause) => DOING.test(clause))).toBe(true);
  });

  it.each(entries)('%s is named after its folder', (code) => {
    expect(code).toMatch(
      /^CHG_(PLAN|ENGINE|CUTOVER|SNAPSHOT|CONFIG|DATA|TRAFFIC|COMPAT|VERIFY|CLI|CONSOLE)_[A-Z][A-Z_]*$/,
    );
  });

  it('has no code that nothing throws', () => {
    const sources = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !/(^|\/)errors(\.test)?\.ts$/.test(file) && !file.endsWith('.test.ts'))
      .map((file) => readFileSync(path.join(import.meta.dirname, file), 'utf8'))
      .join('\n');
    expect(entries.map(([code]) => code).filter((code) => !sources.includes(`'${code}'`))).toEqual([]);
  });
});

it('a failure keeps a field that looks like a placeholder as it is', () => {
  const error = new ChangeoverError('CHG_PLAN_FILE', { file: '{reason}', reason: '$& {file}' });
  expect(error.message).toBe('the plan {reason} cannot be used: $& {file}');
});
