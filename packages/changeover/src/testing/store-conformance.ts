import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../plan/context.ts';
import type { Key, LedgerEntry, OpenStore, Row, Store, WriteBatch } from '../plan/stores.ts';
import { testContext } from './context.ts';
import { tempFolder, type TempFolder } from './temp.ts';

/** A store with a table `items`: key `id` (integer), `name` (text, unique) and `size` (integer, may be NULL). */
export interface StoreSubject extends AsyncDisposable {
  readonly store: Store;
  /** What the application does, on its own connection. Rejects when it is refused. */
  exec(sql: string): Promise<void>;
}

/**
 * What every store of rows must do, as the source and as the target of a move. `make` gives a new, empty store.
 *
 * @example
 * storeConformance('sqlite', async (folder) => openMyStore(folder));
 */
export function storeConformance(name: string, make: (folder: string) => Promise<StoreSubject>): void {
  describe(`the store ${name}`, () => {
    let temp: TempFolder;
    let subject: StoreSubject;
    let ctx: Context;
    const opened: OpenStore[] = [];

    const open = async (epoch = 1) => {
      const store = await subject.store.open({ ...ctx, epoch }, 'legacy');
      opened.push(store);
      return store;
    };
    const prepared = async () => {
      const store = await open();
      await store.prepare();
      return store;
    };
    const captured = async () => {
      const store = await prepared();
      await store.capture.install(['items']);
      return store;
    };
    const all = async (store: OpenStore) => store.chunk('items', null, 1000);
    const ids = async (store: OpenStore) => (await all(store)).map(({ id }) => id);
    const row = (id: number, text = `item ${id}`, size: number | null = null): Row => ({ id, name: text, size });
    const batch = (upserts: readonly Row[], deletes: readonly Key[] = [], epoch = 1): WriteBatch => ({
      epoch,
      changes: [{ table: 'items', deletes, upserts }],
    });
    const pendingKeys = async (store: OpenStore) =>
      (await store.capture.pending(100)).changes.map(({ key }) => Number(key[0])).sort((a, b) => a - b);
    const fill = (count: number) =>
      subject.exec(
        `INSERT INTO items (id, name, size) VALUES ${Array.from({ length: count }, (_, i) => `(${i + 1}, 'item ${i + 1}', NULL)`).join(', ')}`,
      );

    beforeEach(async () => {
      temp = await tempFolder();
      ctx = testContext(temp.path);
      subject = await make(temp.path);
    });
    afterEach(async () => {
      for (const store of opened.splice(0)) await store.close();
      await subject[Symbol.asyncDispose]();
      await temp.remove();
    });

    it('describes its tables and refuses one that is not there', async () => {
      const store = await open();
      const shape = await store.shape('items');
      expect(shape.key).toEqual(['id']);
      expect(shape.columns.map((column) => column.name)).toEqual(['id', 'name', 'size']);
      await expect(store.shape('nothing')).rejects.toMatchObject({ code: 'CHG_DATA_TABLE_MISSING' });
    });

    it('reads chunks strictly after a key, to the end', async () => {
      await fill(7);
      const store = await open();
      const first = await store.chunk('items', null, 3);
      expect(first).toEqual([row(1), row(2), row(3)]);
      expect((await store.chunk('items', [3], 3)).map(({ id }) => id)).toEqual([4, 5, 6]);
      expect((await store.chunk('items', [6], 3)).map(({ id }) => id)).toEqual([7]);
      expect(await store.chunk('items', [7], 3)).toEqual([]);
      expect(await store.count('items')).toBe(7);
      expect((await store.rows('items', [[2], [99], [5]])).map(({ id }) => id).sort()).toEqual([2, 5]);
      expect(await store.rows('items', [])).toEqual([]);
    });

    it('writes upserts and deletes, again and again with the same result', async () => {
      const store = await prepared();
      const once = batch([row(1), row(2, 'two', 5)], [[3]]);
      for (let time = 0; time < 2; time++) await store.write(once);
      await store.write(batch([{ id: 2, size: 6 }], [[1]]));
      expect(await all(store)).toEqual([row(2, 'two', 6)]);
    });

    it('writes a chunk with its ledger entry once', async () => {
      const store = await prepared();
      const ledger: LedgerEntry = {
        run: 'r',
        sync: 's',
        table: 'items',
        seq: 0,
        lastKey: '["i2"]',
        rows: 2,
        hash: 'abc',
        complete: false,
      };
      await store.write({ ...batch([row(1), row(2)]), ledger });
      await store.write({ ...batch([row(9)]), ledger });
      expect(await ids(store)).toEqual([1, 2]);
      expect(await store.ledger('r', 's')).toEqual([ledger]);
      expect(await store.ledger('other', 's')).toEqual([]);
    });

    it('lets unique values move between the rows of a batch, and names the rows outside of it', async () => {
      const store = await prepared();
      await store.write(batch([row(1, 'a', 1), row(2, 'b', 2), row(3, 'c', 3)]));
      await store.write(
        batch([
          { id: 1, name: 'b' },
          { id: 2, name: 'c' },
          { id: 3, name: 'a' },
        ]),
      );
      expect(await all(store)).toEqual([row(1, 'b', 1), row(2, 'c', 2), row(3, 'a', 3)]);
      await store.write(batch([{ id: 4, name: 'b' }], [[1]]));
      await expect(store.write(batch([{ id: 5, name: 'c' }]))).rejects.toMatchObject({
        name: 'UniqueConflict',
        table: 'items',
        keys: [[2]],
      });
      expect(await ids(store)).toEqual([2, 3, 4]);
    });

    it('refuses a row whole and names it', async () => {
      const store = await prepared();
      const rows = [row(1), { id: 2, name: null, size: null }, row(3)];
      await expect(store.write(batch(rows))).rejects.toMatchObject({
        code: 'CHG_DATA_ROW_REFUSED',
        fields: { table: 'items', key: '["i2"]' },
      });
      expect(await ids(store)).toEqual([]);
    });

    it('captures what the application changes, keys old and new', async () => {
      const store = await captured();
      await fill(4);
      const batch1 = await store.capture.pending(100);
      expect(batch1.changes.map(({ table, key }) => [table, ...key])).toHaveLength(4);
      await store.capture.acknowledge(batch1);
      expect(await pendingKeys(store)).toEqual([]);
      await subject.exec('UPDATE items SET size = 1 WHERE id = 2');
      await subject.exec('DELETE FROM items WHERE id = 3');
      await subject.exec('UPDATE items SET id = 40 WHERE id = 4');
      expect(await pendingKeys(store)).toEqual([2, 3, 4, 40]);
    });

    it('captures neither what was rolled back nor what it writes itself', async () => {
      const store = await captured();
      await subject.exec("BEGIN; INSERT INTO items (id, name) VALUES (1, 'gone'); ROLLBACK");
      await store.write(batch([row(5)]));
      await store.write(batch([], [[5]]));
      await store.empty(['items'], 1);
      expect(await pendingKeys(store)).toEqual([]);
    });

    it('keeps a change pending that happens between reading and acknowledging', async () => {
      const store = await captured();
      await fill(1);
      const read = await store.capture.pending(100);
      await subject.exec('UPDATE items SET size = 2 WHERE id = 1');
      await store.capture.acknowledge(read);
      expect(await pendingKeys(store)).toEqual([1]);
    });

    it('gives changes in batches and says how many are left', async () => {
      const store = await captured();
      await fill(10);
      const seen = new Set<number>();
      for (;;) {
        const read = await store.capture.pending(4);
        if (read.changes.length === 0) break;
        expect(read.changes.length).toBeLessThanOrEqual(4);
        expect(read.remaining).toBe(10 - seen.size - read.changes.length);
        for (const { key } of read.changes) seen.add(Number(key[0]));
        await store.capture.acknowledge(read);
      }
      expect(seen.size).toBe(10);
    });

    it('keeps what is pending for another process, and installs a capture twice without harm', async () => {
      const store = await captured();
      await fill(2);
      await store.capture.acknowledge(await store.capture.pending(1));
      await store.close();
      const other = await open(2);
      await other.capture.install(['items']);
      expect(await pendingKeys(other)).toHaveLength(1);
      expect(await other.capture.intact()).toEqual([]);
    });

    it('notices that a part of its capture is gone, and compares the table whole when it is put back', async () => {
      const store = await captured();
      await subject.exec('ALTER TABLE items ADD COLUMN extra text');
      expect(await store.capture.intact()).toHaveLength(1);
      await store.capture.install(['items']);
      expect(await store.capture.intact()).toEqual([]);
      expect((await store.capture.pending(10)).rescan).toEqual(['items']);
    });

    it('starts a new log of changes after the former one was removed', async () => {
      const store = await captured();
      await fill(5);
      await store.capture.acknowledge(await store.capture.pending(10));
      await store.capture.remove();
      await store.capture.install(['items']);
      await subject.exec('UPDATE items SET size = 1 WHERE id = 1');
      expect(await pendingKeys(store)).toEqual([1]);
    });

    it('fences foreign writers and not itself, until it is unfenced', async () => {
      const store = await captured();
      await fill(1);
      await store.fence(['items']);
      await store.fence(['items']);
      expect(await store.isFenced()).toBe(true);
      await expect(subject.exec('UPDATE items SET size = 9')).rejects.toThrow('does not accept writes');
      await store.write(batch([row(2)]));
      await store.unfence();
      await store.unfence();
      expect(await store.isFenced()).toBe(false);
      await subject.exec('UPDATE items SET size = 9');
      expect((await all(store)).map(({ size }) => size)).toEqual([9, 9]);
    });

    it('gives the last changes under a lock, and fences inside it', async () => {
      const store = await captured();
      await fill(2);
      const lock = await store.lock(['items']);
      const last = await store.capture.pending(10);
      expect(last.changes).toHaveLength(2);
      await store.capture.acknowledge(last);
      expect(await pendingKeys(store)).toEqual([]);
      expect(await ids(store)).toEqual([1, 2]);
      await lock.fence();
      expect(await store.isFenced()).toBe(true);
      await expect(fill(5)).rejects.toThrow('does not accept writes');
    });

    it('is writable again after a lock is released, with nothing lost of what was pending', async () => {
      const store = await captured();
      await fill(2);
      const lock = await store.lock(['items']);
      await lock.release();
      await lock.release();
      await subject.exec('UPDATE items SET size = 1 WHERE id = 1');
      expect(await pendingKeys(store)).toEqual([1, 2]);
    });

    it('obeys the highest epoch alone', async () => {
      const old = await captured();
      const heir = await open(5);
      await heir.installEpoch(5);
      await heir.installEpoch(5);
      const stale = { code: 'CHG_DATA_EPOCH_STALE' };
      await expect(old.write(batch([row(1)]))).rejects.toMatchObject(stale);
      await expect(old.empty(['items'], 1)).rejects.toMatchObject(stale);
      await expect(old.fence(['items'])).rejects.toMatchObject(stale);
      await expect(old.lock(['items'])).rejects.toMatchObject(stale);
      await expect(old.sequences(['items'])).rejects.toMatchObject(stale);
      await old.installEpoch(1);
      await expect(old.write(batch([row(1)]))).rejects.toMatchObject(stale);
      await heir.write(batch([row(1)], [], 5));
      expect(await ids(heir)).toEqual([1]);
    });

    it('gives values back as it keeps them, in the order that was asked', async () => {
      const store = await open();
      const canonical = await store.canonical?.('items', [row(2, 'b', 7), row(1, 'a')]);
      expect(canonical).toEqual([row(2, 'b', 7), row(1, 'a')]);
    });

    it('leaves nothing behind when it is uninstalled, and can begin again', async () => {
      const store = await captured();
      await store.fence(['items']);
      await store.write(batch([row(1)]));
      await store.uninstall();
      await store.uninstall();
      await subject.exec('UPDATE items SET size = 3');
      expect(await store.capture.pending(10)).toMatchObject({ changes: [], rescan: [] });
      const again = await captured();
      await subject.exec('UPDATE items SET size = 4');
      expect(await pendingKeys(again)).toEqual([1]);
    });

    it('names every statement of its footprint with its removal', async () => {
      const store = await open();
      const footprint = await store.footprint(['items'], 'source');
      expect(footprint.length).toBeGreaterThan(3);
      for (const entry of footprint) for (const part of Object.values(entry)) expect(part).not.toBe('');
    });
  });
}
