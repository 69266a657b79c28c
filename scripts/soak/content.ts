import type { TestDatabase } from '../../packages/changeover/src/testing/databases.ts';
import type { Engine } from './engines.ts';

export const TABLES = ['heads', 'counters', 'seats', 'items', 'parts', 'scratch'] as const;
export type Table = (typeof TABLES)[number];

/** The rows of one database by table and key, each as text that is the same in every engine. */
export type Content = Readonly<Record<Table, ReadonlyMap<string, string>>>;

export interface Item {
  readonly writer: number;
  readonly name: string | null;
  /** Any 64-bit integer. */
  readonly size: string;
  readonly weight: number;
  /** Hex digits. */
  readonly body: string;
}

export function itemRow({ writer, name, size, weight, body }: Item): string {
  return JSON.stringify([String(writer), name, size, weight, body]);
}

export function itemOf(row: string): Item {
  const [writer, name, size, weight, body] = JSON.parse(row) as [string, string | null, string, number, string];
  return { writer: Number(writer), name, size, weight, body };
}

export function partKey(item: string, place: string): string {
  return JSON.stringify([item, place]);
}

export function partOf(key: string): { readonly item: string; readonly place: string } {
  const [item, place] = JSON.parse(key) as [string, string];
  return { item, place };
}

/** Everything that the application has stored. */
export async function contentOf(db: TestDatabase, { text, double, hex }: Engine): Promise<Content> {
  const read = async (table: Table, key: string, columns: readonly string[]) => {
    const named = columns.map((column, index) => `${column} AS c${index}`).join(', ');
    const rows = await db.all(`SELECT ${text(key)} AS k, ${named} FROM ${table}`);
    return new Map(rows.map(({ k, ...values }) => [String(k), JSON.stringify(Object.values(values))]));
  };
  const parts = await db.all(`SELECT ${text('item')} AS item, place, note FROM parts`);
  return {
    heads: await read('heads', 'writer', [text('seq')]),
    counters: await read('counters', 'id', [text('n')]),
    seats: await read('seats', 'id', ['guest']),
    items: new Map(
      (
        await db.all(
          `SELECT ${text('id')} AS id, writer, name, ${text('size')} AS size, ${double('weight')} AS weight, ${hex('body')} AS body FROM items`,
        )
      ).map(({ id, writer, name, size, weight, body }) => [
        String(id),
        itemRow({
          writer: Number(writer),
          name: name as string | null,
          size: String(size),
          weight: Number(weight),
          body: String(body),
        }),
      ]),
    ),
    parts: new Map(
      parts.map(({ item, place, note }) => [partKey(String(item), String(place)), JSON.stringify([note])]),
    ),
    scratch: await read('scratch', 'id', ['note']),
  };
}
