import type { Json } from '../../plan/words.ts';
import type { Entry, Problem, Reading } from '../source.ts';
import { formatPath, isForbiddenName } from '../tree.ts';
import { NotLiteral, plainOf, readAs, readExpression } from './literal.ts';
import type { PythonValue } from './literal.ts';
import { statementsOf } from './tokens.ts';
import type { Statement, Token } from './tokens.ts';

export interface PythonOptions {
  /** Read the body of this class (and the plain `self.NAME = …` of its `__init__`) instead of the module. */
  readonly class?: string;
}

const SKIPPED_BLOCKS = new Set(['def', 'class', 'async']);
const CONDITIONAL_BLOCKS = new Set([
  'if',
  'elif',
  'else',
  'for',
  'while',
  'try',
  'except',
  'finally',
  'with',
  'match',
  'case',
]);
const AUGMENTED = /^(\+|-|\*|\/|\/\/|%|\*\*|&|\||\^|@|<<|>>)=$/;

/**
 * The plain assignments of a Python module or class, and never any code run: strings, numbers (with + - * ** between them), True, False,
 * None, lists, tuples, sets, dicts, and defaults of environment variables. What is anything else is reported with its line.
 */
export function readPython(text: string, options: PythonOptions = {}): Reading {
  const { statements, problems } = statementsOf(text);
  const collector = new Collector();
  if (options.class === undefined) collector.block(statements, 0);
  else {
    const at = statements.findIndex(
      ({ tokens: [first, second] }) => first?.text === 'class' && second?.text === options.class,
    );
    const header = statements[at];
    if (header === undefined) {
      problems.push({
        level: 'error',
        line: null,
        message: `it holds no class ${options.class}`,
        remedy: 'Name the class as it is written.',
      });
    } else {
      const body = bodyOf(statements, at);
      collector.block(body, body[0]?.indent ?? 0);
      const init = body.findIndex(
        ({ tokens: [first, second] }) => first?.text === 'def' && second?.text === '__init__',
      );
      if (init !== -1) {
        const inner = bodyOf(body, init);
        collector.block(inner, inner[0]?.indent ?? 0, 'self');
      }
    }
  }
  return { entries: collector.entries(), problems: [...problems, ...collector.problems] };
}

function bodyOf(statements: readonly Statement[], header: number): readonly Statement[] {
  const indent = statements[header]?.indent ?? 0;
  const rest = statements.slice(header + 1);
  const end = rest.findIndex((statement) => statement.indent <= indent);
  return end === -1 ? rest : rest.slice(0, end);
}

class Collector {
  readonly problems: Problem[] = [];
  readonly #assigned = new Map<
    string,
    { readonly line: number; readonly value: PythonValue | null; readonly reason: string }
  >();

  /** The statements at one indent; `self` where only attributes of it are settings. */
  block(statements: readonly Statement[], indent: number, self?: string): void {
    for (let index = 0; index < statements.length; index += 1) {
      const statement = statements[index];
      if (statement?.indent !== indent) continue;
      const first = statement.tokens[0]?.text ?? '';
      const isKeyword = statement.tokens[0]?.kind === 'name';
      if (isKeyword && CONDITIONAL_BLOCKS.has(first) && statement.tokens[1]?.text !== '=') {
        const isMain = statement.tokens.some(({ text }) => text === '__name__');
        if (!isMain) this.#conditional([afterColon(statement), ...bodyOf(statements, index)], first, self);
      } else if (!isKeyword || !SKIPPED_BLOCKS.has(first)) this.#statement(statement, null, self);
    }
  }

  #conditional(statements: readonly Statement[], keyword: string, self: string | undefined): void {
    let skippedIndent = Infinity;
    for (const statement of statements) {
      if (statement.indent > skippedIndent) continue;
      const isSkipped = SKIPPED_BLOCKS.has(statement.tokens[0]?.text ?? '');
      skippedIndent = isSkipped ? statement.indent : Infinity;
      if (!isSkipped) this.#statement(statement, `it is assigned inside ${keyword}`, self);
    }
  }

  #statement({ tokens, line }: Statement, condition: string | null, self: string | undefined): void {
    const parts = split(tokens, '=');
    const expression = parts.at(-1) ?? [];
    if (parts.length === 1) {
      this.#changed(tokens, line, self);
      return;
    }
    for (const target of parts.slice(0, -1)) {
      const names = namesOf(target, self);
      if (names === null) {
        this.#changed(target, line, self);
        continue;
      }
      if (condition !== null) for (const name of names) this.#assign(name, line, null, condition);
      else this.#evaluate(names, expression, line);
    }
  }

  #evaluate(names: readonly string[], expression: readonly Token[], line: number): void {
    let values: readonly PythonValue[];
    try {
      const value = readExpression(expression);
      const items = names.length > 1 ? plainOf(value) : null;
      if (names.length > 1 && (!Array.isArray(items) || items.length !== names.length))
        throw new NotLiteral('its values cannot be told apart');
      values = Array.isArray(items) ? items.map((item: Json) => ({ kind: 'literal', value: item })) : [value];
    } catch (error) {
      if (!(error instanceof NotLiteral)) throw error;
      for (const name of names) this.#assign(name, line, null, error.message);
      return;
    }
    for (const [index, name] of names.entries()) this.#assign(name, line, values[index] ?? null, '');
  }

  #assign(name: string, line: number, value: PythonValue | null, reason: string): void {
    if (name.startsWith('_') || isForbiddenName(name)) return;
    // by convention settings are in capitals: `app = Flask(…)` is none, and there is nothing to move in it
    if (value === null && !/\p{Lu}/u.test(name) && !this.#assigned.has(name)) return;
    const before = this.#assigned.get(name);
    if (before !== undefined) {
      this.problems.push({
        level: 'warning',
        line,
        key: name,
        message: `it was set before on line ${before.line}; the last one counts`,
      });
    }
    this.#assigned.set(name, { line, value, reason });
  }

  /** `NAME += …`, `NAME.append(…)`, `NAME['a'] = …`, `del NAME`: whatever it was, it is not any more. */
  #changed(tokens: readonly Token[], line: number, self: string | undefined): void {
    const skipped = tokens[0]?.text === 'del' ? 1 : 0;
    const at = self !== undefined && tokens[skipped]?.text === self ? skipped + 2 : skipped;
    const name = tokens[at]?.text ?? '';
    const next = tokens[at + 1]?.text ?? '';
    if (tokens[at]?.kind !== 'name' || !this.#assigned.has(name)) return;
    if (skipped === 1 || next === '.' || next === '[' || AUGMENTED.test(next))
      this.#assign(name, line, null, 'it is changed after it was assigned');
  }

  entries(): Entry[] {
    return [...this.#assigned].flatMap(([name, { line, value, reason }]) =>
      value === null ? [unread([name], line, reason)] : entriesOf([name], value, line),
    );
  }
}

/** What follows the colon on the line of `if x: A = 1`. */
function afterColon(statement: Statement): Statement {
  const parts = split(statement.tokens, ':');
  return { ...statement, tokens: parts.length > 1 ? (parts.at(-1) ?? []) : [] };
}

/** Parts between operators that are in no bracket. */
function split(tokens: readonly Token[], operator: string): Token[][] {
  const parts: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens) {
    if (token.kind === 'operator' && '([{'.includes(token.text)) depth += 1;
    if (token.kind === 'operator' && ')]}'.includes(token.text)) depth -= 1;
    if (depth === 0 && token.kind === 'operator' && token.text === operator) parts.push([]);
    else parts.at(-1)?.push(token);
  }
  return parts;
}

/** The names that a target assigns: `A`, `A: int`, `A, B`, with `self.` where asked for. Null for anything else. */
function namesOf(target: readonly Token[], self: string | undefined): string[] | null {
  const [withoutAnnotation = []] = split(target, ':');
  const inner = withoutAnnotation[0]?.text === '(' ? withoutAnnotation.slice(1, -1) : withoutAnnotation;
  const names = split(inner, ',').filter((part) => part.length > 0);
  const found = names.flatMap((part) => {
    const [first, dot, attribute] = part;
    if (self === undefined) return part.length === 1 && first?.kind === 'name' ? [first.text] : [];
    return part.length === 3 && first?.text === self && dot?.text === '.' && attribute?.kind === 'name'
      ? [attribute.text]
      : [];
  });
  return found.length === names.length && found.length > 0 ? found : null;
}

function unread(path: readonly string[], line: number, reason: string): Entry {
  return { key: formatPath(path), path, value: undefined, line, isText: false, unread: reason };
}

function entriesOf(path: readonly string[], value: PythonValue, line: number): Entry[] {
  if (path.some(isForbiddenName)) return [];
  const key = formatPath(path);
  if (value.kind === 'literal') {
    return [
      {
        key,
        path,
        value: value.value,
        line,
        isText: false,
        ...(value.isBigInteger === true ? { isBigInteger: true as const } : {}),
      },
    ];
  }
  if (value.kind === 'dict') {
    if (value.items.length === 0) return [{ key, path, value: {}, line, isText: false }];
    return value.items.flatMap((item) => entriesOf([...path, item.name], item.value, item.line));
  }
  const { name, read, fallback } = value;
  const defaultOf = { name, read };
  if (fallback === null) return [{ ...unread(path, line, `it is whatever ${name} is set to`), defaultOf }];
  if (fallback.kind !== 'literal')
    return [{ ...unread(path, line, `the default of ${name} is no literal`), defaultOf }];
  const stated = fallback.value;
  const isReadable = typeof stated === 'string' && read !== 'text';
  const result = isReadable ? readAs(stated, read) : stated;
  if (result === undefined)
    return [{ ...unread(path, line, `the default of ${name} does not fit its type`), defaultOf }];
  return [{ key, path, value: result, line, isText: false, defaultOf }];
}
