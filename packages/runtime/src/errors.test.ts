import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { CATALOGUE, RuntimeError, type ErrorCode } from './errors.ts';

const DOCS = new URL('../../../docs/runtime-errors.md', import.meta.url);
const entries = Object.entries(CATALOGUE) as [ErrorCode, { message: string; hint: string; status: number }][];
const FIELD = /\{(\w+)\}/g;

/** `docs/runtime-errors.md`, from the catalogue. */
function documented(): string {
  const cell = (text: string) => text.replaceAll('\n', ' ').replaceAll('|', '\\|');
  return [
    '# Errors of the runtime',
    '',
    'Every failure of `@changeover/runtime` has a code that is never used for anything else, and the HTTP status of a request that fails with',
    'it. Names in braces stand for what the message names.',
    '',
    '| code | status | what happened | what to do |',
    '| --- | --- | --- | --- |',
    ...entries.map(
      ([code, { status, message, hint }]) => `| \`${code}\` | ${status} | ${cell(message)} | ${cell(hint)} |`,
    ),
    '',
  ].join('\n');
}

describe('the catalogue of errors', () => {
  it('is what docs/runtime-errors.md lists (UPDATE=1 rewrites it)', () => {
    if (process.env['UPDATE'] === '1') writeFileSync(DOCS, documented());
    expect(readFileSync(DOCS, 'utf8')).toBe(documented());
  });

  it.each(entries)('%s renders with every field', (code, { message, hint, status }) => {
    const names = [...`${message} ${hint}`.matchAll(FIELD)].map(([, name = '']) => name);
    const fields = Object.fromEntries(names.map((name) => [name, `<${name}>`]));
    const error = new RuntimeError(code, fields as never);
    expect(`${error.message} ${error.hint}`).not.toMatch(FIELD);
    for (const name of names) expect(`${error.message} ${error.hint}`).toContain(`<${name}>`);
    expect(error).toMatchObject({ code, status, name: 'RuntimeError' });
  });

  it('has no code that nothing throws', () => {
    const folder = import.meta.dirname;
    const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && file !== 'errors.ts')
      .map((file) => readFileSync(path.join(folder, file), 'utf8'))
      .join('\n');
    expect(entries.map(([code]) => code).filter((code) => !sources.includes(`'${code}'`))).toEqual([]);
  });
});
