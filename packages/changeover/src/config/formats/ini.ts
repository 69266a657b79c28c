import type { Edited, Entry, Format, Leaf, Problem, Reading } from '../source.ts';
import { endOfLine, replaceRanges } from '../text.ts';
import type { Replacement } from '../text.ts';
import { formatPath, toText } from '../tree.ts';

export interface IniOptions {
  /** What quotes around a whole value are: `strip` removes them, `keep` takes them as a part of it (Python's configparser). Default `strip`. */
  readonly quotes?: 'strip' | 'keep';
}

interface Assignment {
  readonly section: string | null;
  readonly name: string;
  readonly value: string;
  readonly line: number;
  readonly start: number;
  readonly end: number;
}

interface Scan {
  readonly assignments: readonly Assignment[];
  readonly problems: readonly Problem[];
  /** Where a new name of a section goes: after its last assignment or its header. */
  readonly sectionEnds: ReadonlyMap<string | null, number>;
}

/**
 * Sections of `name = value` or `name: value`. Comments are whole lines with `#` or `;`. A line that is indented deeper than its name
 * goes on with the value. The key of a setting is `section.name`.
 */
export function iniFormat({ quotes = 'strip' }: IniOptions = {}): Format {
  return {
    kind: 'ini',
    isFlat: false,
    parse(text): Reading {
      const { assignments, problems } = scan(text, quotes);
      return {
        entries: assignments.map(({ section, name, value, line }): Entry => {
          const path = section === null ? [name] : [section, name];
          return { key: path.join('.'), path, value, line, isText: true };
        }),
        problems,
      };
    },
    edit(text, leaves): Edited {
      const eol = endOfLine(text);
      const { assignments, sectionEnds } = scan(text, quotes);
      const present = new Map(
        assignments.map((assignment) => [nameOf(assignment.section, assignment.name), assignment]),
      );
      const problems: Problem[] = [];
      const replacements: Replacement[] = [];
      const newSections = new Map<string, string[]>();
      for (const { path, value } of leaves) {
        const problem = whyNot(path, value, quotes);
        if (problem !== null) {
          problems.push({ level: 'error', line: null, key: formatPath(path), message: problem });
          continue;
        }
        const [section, name] = path.length === 1 ? [null, path[0] ?? ''] : [path[0] ?? '', path[1] ?? ''];
        const wanted = toText(value);
        const written = render(wanted, quotes);
        const there = present.get(nameOf(section, name));
        const end = sectionEnds.get(section);
        if (there !== undefined) {
          if (there.value !== wanted)
            replacements.push({
              start: there.start,
              end: there.end,
              by: there.start === there.end && text[there.start - 1] !== ' ' ? ` ${written}` : written,
            });
        } else if (end !== undefined) {
          const isAfterOpenLine = end > 0 && text[end - 1] !== '\n';
          replacements.push({
            start: end,
            end,
            by: `${isAfterOpenLine ? eol : ''}${name} = ${written}${isAfterOpenLine ? '' : eol}`,
          });
        } else
          newSections.set(section ?? '', [...(newSections.get(section ?? '') ?? []), `${name} = ${written}${eol}`]);
      }
      let result = replaceRanges(text, replacements);
      for (const [section, lines] of newSections) {
        if (result !== '' && !result.endsWith('\n')) result += eol;
        result += `${result === '' ? '' : eol}[${section}]${eol}${lines.join('')}`;
      }
      return { text: result, problems };
    },
  };
}

function nameOf(section: string | null, name: string): string {
  return JSON.stringify([section, name]);
}

function whyNot(path: Leaf['path'], value: Leaf['value'], quotes: 'strip' | 'keep'): string | null {
  const [section = '', name] = path;
  if (path.length > 2) return 'an INI file has sections and names, nothing deeper';
  if (name !== undefined && /[\]\r\n]|^\s|\s$|^$/.test(section))
    return 'it is not usable as the name of an INI section';
  if (/[=:\r\n]|^[\s[#;]|\s$|^$/.test(name ?? section)) return 'it is not usable as a name in an INI file';
  if (value === null) return 'an INI file cannot hold null';
  const text = toText(value);
  if (text.includes('\0')) return 'an INI file cannot hold a NUL character';
  if (quotes === 'keep' && /[\r\n]|^\s|\s$/.test(text))
    return 'an INI file without quotes cannot hold line breaks or blanks at the ends';
  return null;
}

function render(value: string, quotes: 'strip' | 'keep'): string {
  if (quotes === 'keep' || (/^[^\s"'#;][^\r\n#;]*$/.test(value) && !/\s$/.test(value)) || value === '') return value;
  const escaped = value
    .replace(/[\\"]/g, '\\$&')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replaceAll('\t', '\\t');
  return `"${escaped}"`;
}

function unquote(value: string): string {
  const letters: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };
  const double = /^"((?:[^"\\]|\\.)*)"$/s.exec(value)?.[1];
  if (double !== undefined)
    return double.replace(/\\([nrt\\"])/g, (_, character: string) => letters[character] ?? character);
  return /^'([^']*)'$/s.exec(value)?.[1] ?? value;
}

interface Open {
  readonly section: string | null;
  readonly name: string;
  readonly line: number;
  readonly indent: number;
  readonly start: number;
  end: number;
  lines: string[];
}

function scan(text: string, quotes: 'strip' | 'keep'): Scan {
  const assignments: Assignment[] = [];
  const problems: Problem[] = [];
  const sectionEnds = new Map<string | null, number>([[null, 0]]);
  const firstLines = new Map<string, number>();
  let section: string | null = null;
  let open: Open | null = null;
  const close = (): void => {
    if (open === null) return;
    const { name, line, start, end, lines } = open;
    const raw = lines.join('\n').trim();
    const value = quotes === 'strip' ? unquote(raw) : raw;
    assignments.push({ section, name, value, line, start, end });
    const id = nameOf(section, name);
    const key = section === null ? name : `${section}.${name}`;
    const first = firstLines.get(id);
    if (first !== undefined)
      problems.push({
        level: 'warning',
        line,
        key,
        message: `it was set before on line ${first}; the last one counts`,
      });
    firstLines.set(id, first ?? line);
    if (value === raw && /\s[;#]/.test(raw)) {
      problems.push({
        level: 'warning',
        line,
        key,
        message:
          'it holds ; or # after a blank, which some readers take for a comment; it is taken as a part of the value',
      });
    }
    if (quotes === 'strip' && value === raw && /^["']/.test(raw)) {
      problems.push({
        level: 'warning',
        line,
        key,
        message: 'its quote is not closed at the end of the value; it is taken as a part of the value',
      });
    }
    if (/%\([^)]*\)s|\$\{/.test(raw))
      problems.push({ level: 'warning', line, key, message: 'it refers to another setting, which is not expanded' });
    open = null;
  };
  let at = 0;
  for (const [index, full] of text.split('\n').entries()) {
    const line = index + 1;
    const content = full.replace(/\r$/, '');
    const trimmed = content.trim();
    const lineEnd = at + content.length;
    const next = Math.min(text.length, at + full.length + 1);
    const indent = content.length - content.trimStart().length;
    const goesOn: Open | null = open;
    if (trimmed === '' || /^[#;]/.test(trimmed)) {
      if (trimmed === '') close();
    } else if (goesOn !== null && indent > goesOn.indent) {
      goesOn.lines.push(trimmed);
      goesOn.end = at + content.trimEnd().length;
      sectionEnds.set(section, next);
    } else {
      close();
      const header = /^\[([^\]]*)\]\s*(?:[#;].*)?$/.exec(trimmed)?.[1];
      const assignment = /^(\s*)([^\s=:[][^=:]*?)(\s*[=:][ \t]*)(.*?)\s*$/s.exec(content);
      if (header !== undefined) {
        section = header.trim();
        if (sectionEnds.has(section))
          problems.push({ level: 'warning', line, message: `the section [${section}] was there before; both count` });
        sectionEnds.set(section, next);
      } else if (assignment === null) {
        problems.push({
          level: 'error',
          line,
          message: 'the line is neither [section] nor name = value',
          remedy: 'Correct the line, or make it a comment with #.',
        });
      } else {
        const [, before = '', name = '', sign = '', value = ''] = assignment;
        const start = at + before.length + name.length + sign.length;
        open = {
          section,
          name,
          line,
          indent,
          start: Math.min(start, lineEnd),
          end: Math.min(start, lineEnd) + value.length,
          lines: [value],
        };
        sectionEnds.set(section, next);
      }
    }
    at = next;
  }
  close();
  return { assignments, problems, sectionEnds };
}
