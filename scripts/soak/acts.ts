import type { TestDatabase } from '../../packages/changeover/src/testing/databases.ts';
import { itemOf, itemRow, partKey, partOf, type Item } from './content.ts';
import type { Engine } from './engines.ts';
import { take, type Effect, type Known } from './ledger.ts';
import type { Random } from './random.ts';

export const COUNTERS = 3;
export const SEATS = 6;

/** What text columns have to carry: whatever means something to a format on the way. */
const AWKWARD = ['', ' ', "'", '\\', '\t', '\n', '\\N', 'ä', '日本', '😀', '"', '%', '\u0001'];
const SIZES = ['0', '-1', '7', '9007199254740993', '-9007199254740993', '9223372036854775807', '-9223372036854775808'];
const PLACES = ['a', 'A', 'b', 'ä', 'z', 'Z', '1', '01', '\t', 'a b', '日', '~'];
/** A writer owns about so many items. */
const ITEMS_FEW = 60;
const ITEMS_MANY = 150;

/** One transaction of a writer while it is open: its statements on the database, and what they mean to the ledger. */
export class Acts {
  readonly effects: Effect[] = [];
  readonly #db: TestDatabase;
  readonly #engine: Engine;
  readonly #random: Random;
  readonly #writer: number;
  readonly #seq: number;
  readonly #known: Pick<Known, 'rows' | 'counters'>;
  #names = 0;

  constructor(
    db: TestDatabase,
    engine: Engine,
    random: Random,
    at: { readonly writer: number; readonly seq: number },
    known: Known,
  ) {
    this.#db = db;
    this.#engine = engine;
    this.#random = random;
    this.#writer = at.writer;
    this.#seq = at.seq;
    const { items, parts, scratch } = known.rows;
    this.#known = {
      rows: { items: new Map(items), parts: new Map(parts), scratch: new Map(scratch) },
      counters: new Map(known.counters),
    };
  }

  /** One to four acts on rows of this writer, and at times one on rows that all writers share. */
  async play(): Promise<void> {
    for (let acts = this.#random.between(1, 4); acts > 0; acts--) await this.#own();
    if (this.#random.chance(0.5)) await (this.#random.chance(0.5) ? this.#count() : this.#exchangeSeats());
  }

  async #own(): Promise<void> {
    const items = this.#known.rows.items.size;
    if (items < ITEMS_FEW && this.#random.chance(0.6)) return this.#insertSeveral();
    if (items > ITEMS_MANY) return this.#remove();
    const acts = [
      () => this.#insertSeveral(),
      () => this.#update(),
      () => this.#update(),
      () => this.#remove(),
      () => this.#rekey(),
      () => this.#exchangeNames(),
      () => this.#upsertByName(),
      () => this.#addPart(),
      () => this.#addPart(),
      () => this.#movePart(),
      ...(this.#engine.insertOrReplace === null ? [] : [() => this.#insertOrReplace()]),
      ...(this.#engine.updateOrReplace === null ? [] : [() => this.#updateOrReplace()]),
      ...(this.#writer === 0 ? [() => this.#scribble(), () => this.#scribble(), () => this.#wipe()] : []),
    ];
    return this.#random.pick(acts)();
  }

  async #insertSeveral(): Promise<void> {
    for (let rows = this.#random.between(1, 8); rows > 0; rows--) {
      const item = this.#item();
      this.#do(['set', 'items', await this.#insert('INSERT', item), itemRow(item)]);
    }
  }

  async #update(): Promise<void> {
    const id = this.#anyItem();
    if (id === null) return;
    const item = { ...this.#item(), name: this.#itemAt(id).name };
    await this.#db.exec(
      `UPDATE items SET size = ${item.size}, weight = ${this.#engine.real(item.weight)}, body = ${this.#engine.bytes(item.body)} WHERE id = ${id}`,
    );
    this.#do(['set', 'items', id, itemRow(item)]);
  }

  async #remove(): Promise<void> {
    const id = this.#anyItem();
    if (id === null) return;
    await this.#db.exec(`DELETE FROM items WHERE id = ${id}`);
    this.#dropItem(id);
  }

  /** The item takes another key, and its parts follow by the foreign key. */
  async #rekey(): Promise<void> {
    const id = this.#anyItem();
    if (id === null) return;
    // Negative: no generator ever gives such a key.
    const other = String(-((this.#writer + 1) * 1_000_000_000 + this.#seq * 1000 + this.#names++));
    await this.#db.exec(`UPDATE items SET id = ${other} WHERE id = ${id}`);
    const row = this.#known.rows.items.get(id) ?? '';
    const parts = this.#partsOf(id);
    this.#dropItem(id);
    this.#do(['set', 'items', other, row]);
    for (const [place, note] of parts) this.#do(['set', 'parts', partKey(other, place), note]);
  }

  async #exchangeNames(): Promise<void> {
    const [a, b] = [this.#anyItem(), this.#anyItem()];
    if (a === null || b === null || a === b) return;
    const [first, second] = [this.#itemAt(a), this.#itemAt(b)];
    await this.#db.exec(`UPDATE items SET name = ${literal(this.#name())} WHERE id = ${a}`);
    await this.#db.exec(`UPDATE items SET name = ${literal(first.name)} WHERE id = ${b}`);
    await this.#db.exec(`UPDATE items SET name = ${literal(second.name)} WHERE id = ${a}`);
    this.#do(['set', 'items', a, itemRow({ ...first, name: second.name })]);
    this.#do(['set', 'items', b, itemRow({ ...second, name: first.name })]);
  }

  async #upsertByName(): Promise<void> {
    const id = this.#anyNamed();
    if (id === null) return;
    const item = { ...this.#item(), name: this.#itemAt(id).name };
    await this.#insert('INSERT', item, this.#engine.upsert('name', ['size', 'weight', 'body']));
    this.#do(['set', 'items', id, itemRow(item)]);
  }

  /** Deletes the row that holds the name, and its parts with it, without a word. */
  async #insertOrReplace(): Promise<void> {
    const id = this.#anyNamed();
    if (id === null) return;
    const item = { ...this.#item(), name: this.#itemAt(id).name };
    const created = await this.#insert(this.#engine.insertOrReplace ?? '', item);
    this.#dropItem(id);
    this.#do(['set', 'items', created, itemRow(item)]);
  }

  async #updateOrReplace(): Promise<void> {
    const [a, b] = [this.#anyItem(), this.#anyNamed()];
    if (a === null || b === null || a === b) return;
    const { name } = this.#itemAt(b);
    await this.#db.exec(`${this.#engine.updateOrReplace ?? ''} items SET name = ${literal(name)} WHERE id = ${a}`);
    this.#dropItem(b);
    this.#do(['set', 'items', a, itemRow({ ...this.#itemAt(a), name })]);
  }

  async #addPart(): Promise<void> {
    const item = this.#anyItem();
    if (item === null) return;
    const place = this.#random.pick(PLACES);
    const note = this.#name();
    await this.#db.exec(
      `INSERT INTO parts (item, place, note) VALUES (${item}, ${literal(place)}, ${literal(note)}) ${this.#engine.upsert('item, place', ['note'])}`,
    );
    this.#do(['set', 'parts', partKey(item, place), JSON.stringify([note])]);
  }

  async #movePart(): Promise<void> {
    const keys = [...this.#known.rows.parts.keys()];
    const other = this.#anyItem();
    if (keys.length === 0 || other === null) return;
    const key = this.#random.pick(keys);
    const { item, place } = partOf(key);
    if (this.#known.rows.parts.has(partKey(other, place))) return;
    await this.#db.exec(`UPDATE parts SET item = ${other} WHERE item = ${item} AND place = ${literal(place)}`);
    const row = this.#known.rows.parts.get(key) ?? '';
    this.#do(['drop', 'parts', key]);
    this.#do(['set', 'parts', partKey(other, place), row]);
  }

  async #scribble(): Promise<void> {
    const id = String(this.#random.between(1, 40));
    const note = this.#name();
    await this.#db.exec(
      `INSERT INTO scratch (id, note) VALUES (${id}, ${literal(note)}) ${this.#engine.upsert('id', ['note'])}`,
    );
    this.#do(['set', 'scratch', id, JSON.stringify([note])]);
  }

  async #wipe(): Promise<void> {
    if (!this.#random.chance(0.3)) return;
    await this.#db.exec(this.#engine.truncate('scratch'));
    this.#do(['clear', 'scratch']);
  }

  async #count(): Promise<void> {
    const id = String(this.#random.between(1, COUNTERS));
    const n = this.#random.between(1, 9);
    await this.#db.exec(`UPDATE counters SET n = n + ${n} WHERE id = ${id}`);
    this.#do(['add', id, n]);
  }

  /** Two rows of all writers exchange their unique guests. */
  async #exchangeSeats(): Promise<void> {
    const [a, b] = [this.#random.between(1, SEATS), this.#random.between(1, SEATS)];
    if (a === b) return;
    const seats = await this.#db.all(
      `SELECT id, guest FROM seats WHERE id IN (${a}, ${b}) ORDER BY id ${this.#engine.forUpdate}`,
    );
    const guest = (id: number) => literal(String(seats.find((seat) => Number(seat['id']) === id)?.['guest']));
    await this.#db.exec(`UPDATE seats SET guest = ${literal(this.#name())} WHERE id = ${a}`);
    await this.#db.exec(`UPDATE seats SET guest = ${guest(a)} WHERE id = ${b}`);
    await this.#db.exec(`UPDATE seats SET guest = ${guest(b)} WHERE id = ${a}`);
  }

  #do(effect: Effect): void {
    this.effects.push(effect);
    take(this.#known, [effect]);
  }

  async #insert(verb: string, item: Item, action = ''): Promise<string> {
    const { writer, name, size, weight, body } = item;
    const [row] = await this.#db.all(
      `${verb} INTO items (writer, name, size, weight, body)
       VALUES (${writer}, ${literal(name)}, ${size}, ${this.#engine.real(weight)}, ${this.#engine.bytes(body)}) ${action} RETURNING ${this.#engine.text('id')} AS id`,
    );
    return String(row?.['id']);
  }

  #dropItem(id: string): void {
    for (const [place] of this.#partsOf(id)) this.#do(['drop', 'parts', partKey(id, place)]);
    this.#do(['drop', 'items', id]);
  }

  #partsOf(id: string): [place: string, row: string][] {
    return [...this.#known.rows.parts].flatMap(([key, row]) => {
      const { item, place } = partOf(key);
      return item === id ? [[place, row]] : [];
    });
  }

  #anyItem(): string | null {
    const ids = [...this.#known.rows.items.keys()];
    return ids.length === 0 ? null : this.#random.pick(ids);
  }

  #anyNamed(): string | null {
    const ids = [...this.#known.rows.items].filter(([, row]) => itemOf(row).name !== null).map(([id]) => id);
    return ids.length === 0 ? null : this.#random.pick(ids);
  }

  #itemAt(id: string): Item {
    const row = this.#known.rows.items.get(id);
    if (row === undefined) throw new Error(`writer ${this.#writer} has no item ${id}`);
    return itemOf(row);
  }

  #item(): Item {
    return {
      writer: this.#writer,
      name: this.#random.chance(0.1) ? null : this.#name(),
      size: this.#random.pick(SIZES),
      weight: this.#random.pick([0, 0.1, 1 / 3, 1e-7, 1e300, -5, this.#random.next() * 1e6]),
      body: Buffer.from(this.#name()).toString('hex'),
    };
  }

  /** Never the same twice. */
  #name(): string {
    return `w${this.#writer} ${this.#seq}.${this.#names++}${this.#random.pick(AWKWARD)}`;
  }
}

export function literal(text: string | null): string {
  return text === null ? 'NULL' : `'${text.replaceAll("'", "''")}'`;
}
