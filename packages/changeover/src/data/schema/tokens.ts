/** A piece of SQL text. `name` is quoted as an identifier; `word` is a bare identifier or a keyword. */
export interface Token {
  readonly kind: 'word' | 'name' | 'text' | 'number' | 'bytes' | 'sign';
  /** Unquoted for names and texts, as written otherwise. */
  readonly value: string;
  /** Where it stands in the text. */
  readonly start: number;
  readonly end: number;
}

const PATTERN =
  /(?<blank>\s+|--[^\n]*|\/\*[\s\S]*?\*\/)|(?<bytes>[xX]'[0-9a-fA-F]*')|(?<text>'(?:[^']|'')*')|(?<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])|(?<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?<word>[\p{L}_$][\p{L}\p{N}_$]*)|(?<sign>::|\|\||<>|!=|==|<=|>=|<<|>>|[^\s])/gu;

/** Only SQLite reads brackets as quotes of a name; elsewhere they belong to arrays. */
const WITHOUT_BRACKETS = new RegExp(PATTERN.source.replace(String.raw`|\[[^\]]*\]`, ''), PATTERN.flags);

/** SQL text as tokens, without blanks and comments. */
export function tokensOf(sql: string, engine: 'sqlite' | 'other' = 'sqlite'): Token[] {
  const tokens: Token[] = [];
  for (const match of sql.matchAll(engine === 'sqlite' ? PATTERN : WITHOUT_BRACKETS)) {
    const groups = match.groups ?? {};
    const kind = (['bytes', 'text', 'name', 'number', 'word', 'sign'] as const).find(
      (one) => groups[one] !== undefined,
    );
    if (kind === undefined) continue;
    const [raw] = match;
    const end = match.index + raw.length;
    const value = kind === 'text' || kind === 'name' ? unquoted(raw) : raw;
    tokens.push({ kind, value, start: match.index, end });
  }
  return tokens;
}

function unquoted(raw: string): string {
  const quote = raw[0] ?? '';
  const inner = raw.slice(1, -1);
  return quote === '[' ? inner : inner.replaceAll(quote + quote, quote);
}

export function isWord(token: Token | undefined, ...words: readonly string[]): boolean {
  return token?.kind === 'word' && words.includes(token.value.toUpperCase());
}

export function isSign(token: Token | undefined, sign: string): boolean {
  return token?.kind === 'sign' && token.value === sign;
}

/** Index of the bracket that closes the one at `open`; the last token where none does. */
export function closing(tokens: readonly Token[], open: number): number {
  let depth = 0;
  for (let index = open; index < tokens.length; index++) {
    if (isSign(tokens[index], '(')) depth += 1;
    if (isSign(tokens[index], ')') && --depth === 0) return index;
  }
  return tokens.length - 1;
}

/** The tokens between the brackets of a list, split at its commas. */
export function listItems(tokens: readonly Token[], open: number): Token[][] {
  const items: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens.slice(open + 1, closing(tokens, open))) {
    if (isSign(token, '(')) depth += 1;
    if (isSign(token, ')')) depth -= 1;
    if (depth === 0 && isSign(token, ',')) items.push([]);
    else items.at(-1)?.push(token);
  }
  return items;
}

/** The text that the tokens were made of. */
export function sourceText(sql: string, tokens: readonly Token[]): string {
  return sql.slice(tokens[0]?.start ?? 0, tokens.at(-1)?.end ?? 0);
}
