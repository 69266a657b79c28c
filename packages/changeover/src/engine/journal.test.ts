import { open, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NO_FAULTS } from '../plan/context.ts';
import { tempFolder } from '../testing/temp.ts';
import type { TempFolder } from '../testing/temp.ts';
import { openAuthoritySource } from './authority.ts';
import { systemClock } from './clock.ts';
import { openJournal } from './journal.ts';
import type { Journal } from './journal.ts';

let temp: TempFolder;
let journal: Journal;
const options = { clock: systemClock(), faults: NO_FAULTS };
const plan = { plan: 'doorbell', hash: 'h1', spec: { name: 'doorbell' }, configFile: '/srv/changeover.config.ts' };

beforeEach(async () => {
  temp = await tempFolder();
  journal = openJournal(temp.path, options);
});
afterEach(async () => {
  journal.close();
  await temp.remove();
});

const own = () => journal.acquire({ command: 'test' });

describe('the authority', () => {
  test('starts with the legacy serving and nobody held', () => {
    expect(journal.authority()).toEqual({
      side: 'legacy',
      state: 'LIVE_OLD',
      epoch: 0,
      version: 1,
      leaseUntilMs: null,
      leaseBoot: null,
      operatorHold: false,
      reason: null,
    });
    expect(journal.ownerInfo()).toBeNull();
  });

  test('is changed by compare-and-set and keeps what a change leaves out', async () => {
    const owner = await own();
    const { version, epoch } = journal.authority();
    const lease = { untilMs: 1234.5, boot: 'boot' };
    const held = owner.setAuthority(version, { state: 'HOLD', lease, raiseEpoch: true });
    expect(held).toMatchObject({ version: version + 1, epoch: epoch + 1, leaseUntilMs: 1234.5, leaseBoot: 'boot' });
    expect(owner.epoch).toBe(epoch + 1);
    const open = owner.setAuthority(held.version, { side: 'next', state: 'OPEN', reason: 'why' });
    expect(open).toMatchObject({ side: 'next', leaseUntilMs: 1234.5, reason: 'why', epoch: epoch + 1 });
    expect(owner.setAuthority(open.version, { lease: null })).toMatchObject({ leaseUntilMs: null, reason: 'why' });
    expect(journal.ownerInfo()?.epoch).toBe(epoch + 1);
  });

  test('refuses a change that was decided on an older version, and names both', async () => {
    const owner = await own();
    const { version } = journal.authority();
    expect(journal.setOperatorHold(true)).toMatchObject({ operatorHold: true, version: version + 1 });
    expect(() => owner.setAuthority(version, { state: 'HOLD' })).toThrow(
      `expected version ${version}, found version ${version + 1} in state LIVE_OLD`,
    );
    expect(journal.authority()).toMatchObject({ state: 'LIVE_OLD', version: version + 1 });
    expect(journal.setOperatorHold(true).version).toBe(version + 1);
  });

  test('is followed by a source that reads only, which sees every change and a journal that is gone', async () => {
    const source = openAuthoritySource(temp.path);
    const owner = await own();
    expect(source.changed()).toBe(true);
    expect(source.read().epoch).toBe(owner.epoch);
    expect(source.changed()).toBe(false);
    owner.setAuthority(journal.authority().version, { state: 'HOLD' });
    expect(source.changed()).toBe(true);
    expect(source.read().state).toBe('HOLD');
    await temp.remove();
    await expect.poll(() => source.changed()).toBe(true);
    expect(() => source.read()).toThrow('there is no journal at');
    source.close();
  });

  test('with a state that this version does not know makes the source throw, so that its reader holds', () => {
    const source = openAuthoritySource(temp.path);
    const raw = new DatabaseSync(path.join(temp.path, 'journal.db'));
    raw.exec("UPDATE authority SET state = 'LIVE_SOMEWHERE'");
    raw.close();
    expect(() => source.read()).toThrow('LIVE_SOMEWHERE is no state');
    source.close();
  });
});

describe('runs', () => {
  test('a second run cannot start beside an unfinished one, and can after a rollback', async () => {
    const owner = await own();
    const first = owner.createRun(plan);
    expect(() => owner.createRun(plan)).toThrow(`run ${first.id} of this plan is running`);
    owner.setRunStatus(first.id, 'rolled_back');
    const second = owner.createRun(plan);
    expect(second.id).not.toBe(first.id);
    expect(journal.currentRun()).toEqual(second);
  });

  test('a changed plan is refused with the difference, can be accepted, and never fails the run', async () => {
    const owner = await own();
    owner.createRun({ ...plan, spec: { tables: { events: { chunk: 10, from: 'log' } }, units: ['a', 'b'] } });
    const changed = { tables: { events: { chunk: 20 } }, units: ['a', 'c'], 'odd "name"': 1 };
    owner.checkPlan('h1', changed);
    const difference = [
      '  tables.events.chunk: 10 → 20',
      '  tables.events.from: removed "log"',
      '  units[1]: "b" → "c"',
      '  ["odd \\"name\\""]: added 1',
    ].join('\n');
    expect(() => {
      owner.checkPlan('h2', changed);
    }).toThrow(difference);
    expect(journal.currentRun()?.status).toBe('running');
    expect(owner.acceptPlan('h2', changed)).toBe(difference);
    owner.checkPlan('h2', changed);
  });

  test('the difference of huge plans stays readable', async () => {
    const owner = await own();
    const big = (value: string) =>
      Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`t${i}`, value.repeat(500)]));
    owner.createRun({ ...plan, spec: big('a') });
    const difference = owner.acceptPlan('h2', big('b'));
    expect(difference.split('\n')).toHaveLength(21);
    expect(difference).toContain('and 4980 more');
    expect(difference.length).toBeLessThan(5000);
  });

  test('an intent, an outcome and a second attempt are kept, with the first state before', async () => {
    const owner = await own();
    const { id } = owner.createRun(plan);
    owner.intendStep(id, { name: 'one', stage: 'backup', before: { old: 1 } });
    owner.intendStep(id, { name: 'two', stage: 'config', before: null });
    owner.intendStep(id, { name: 'one', stage: 'backup', before: { old: 2 } });
    owner.completeStep(id, 'one');
    owner.failStep(id, 'two', 'broke', { reason: 'broke', step: 'two', endsAs: 'failed' });
    expect(journal.steps(id)).toMatchObject([
      { name: 'one', number: 1, status: 'done', attempts: 2, before: { old: 1 } },
      { name: 'two', number: 2, status: 'failed', error: 'broke' },
    ]);
    expect(journal.currentRun()?.undoing).toEqual({ reason: 'broke', step: 'two', endsAs: 'failed' });
  });
});

describe('records', () => {
  test.each(["'; DROP TABLE runs; --", '../../etc/passwd', '\u0000', '💥'.repeat(2000), ''])(
    'a hostile name %j is only a name',
    async (name) => {
      const owner = await own();
      const { id } = owner.createRun({ ...plan, plan: name });
      owner.intendStep(id, { name, stage: 'data', before: { [name]: name } });
      owner.completeStep(id, name);
      owner.put(name, { [name]: [name] });
      owner.message(id, 'warning', name);
      expect(journal.steps(id)).toMatchObject([{ name, before: { [name]: name }, status: 'done' }]);
      expect(journal.get(name)).toEqual({ [name]: [name] });
      expect(journal.currentRun()?.plan).toBe(name);
    },
  );

  test('a fact is put, replaced and removed', async () => {
    const owner = await own();
    expect(journal.get('hash')).toBeNull();
    owner.put('hash', 'a');
    owner.put('hash', ['b']);
    expect(journal.get('hash')).toEqual(['b']);
    owner.put('hash', null);
    expect(journal.get('hash')).toBeNull();
  });

  test('messages of a run are bounded in number and length', async () => {
    const owner = await own();
    const { id } = owner.createRun(plan);
    for (let number = 1; number <= 1010; number++) owner.message(id, 'log', `message ${number}`);
    owner.message(id, 'error', 'x'.repeat(100_000));
    const messages = journal.messages(id);
    expect(messages).toHaveLength(1000);
    expect(messages[0]?.text).toBe('message 12');
    expect(messages.at(-1)?.text).toHaveLength(4000 + '… (100000 characters)'.length);
  });

  test('the audit only grows, even for somebody who opens the file', () => {
    journal.audit({ actor: 'ann', planHash: 'h1', question: 'Cut over?', answer: 'yes' });
    expect(journal.auditTrail()).toMatchObject([
      { actor: 'ann', planHash: 'h1', question: 'Cut over?', answer: 'yes' },
    ]);
    const raw = new DatabaseSync(path.join(temp.path, 'journal.db'));
    expect(() => {
      raw.exec("UPDATE audit SET answer = 'no'");
    }).toThrow('append-only');
    expect(() => {
      raw.exec('DELETE FROM audit');
    }).toThrow('append-only');
    raw.close();
  });
});

test('a journal of format 1, left in the middle of a hold, is gone on with', async () => {
  journal.close();
  await temp.remove();
  temp = await tempFolder();
  const raw = new DatabaseSync(path.join(temp.path, 'journal.db'));
  raw.exec('PRAGMA journal_mode = WAL');
  raw.exec(await readFile(new URL('journal-v1.sql', import.meta.url), 'utf8'));
  raw.close();
  journal = openJournal(temp.path, options);
  expect(journal.authority()).toMatchObject({ state: 'HOLD', epoch: 2, version: 3, leaseUntilMs: 123456.5 });
  expect(journal.ownerInfo()).toMatchObject({ command: 'changeover run', isHeld: false });
  const run = journal.currentRun();
  expect(run).toMatchObject({ plan: 'doorbell', hash: '9f2c', spec: { units: ['legacy'] }, undoing: null });
  expect(journal.steps(run?.id ?? '')).toMatchObject([
    { name: 'take the backup', status: 'done' },
    { name: 'write settings', status: 'started', before: { 'config/pipeline.json': null } },
  ]);
  expect(journal.messages(run?.id ?? '')).toMatchObject([{ level: 'warning', text: 'no target for FBI_API_URL' }]);
  expect(journal.get('settings.sourceHash')).toBe('abc');
  expect(journal.auditTrail()).toMatchObject([{ actor: 'ann', answer: 'yes' }]);
  const owner = await own();
  expect(owner.epoch).toBe(3);
  owner.completeStep(run?.id ?? '', 'write settings');
});

describe('a journal that cannot be used', () => {
  const file = () => path.join(temp.path, 'journal.db');
  const reopen = () => {
    openJournal(temp.path, options).close();
  };

  test('of a later version is left alone and says so', () => {
    const raw = new DatabaseSync(file());
    raw.exec('PRAGMA user_version = 99');
    raw.close();
    expect(reopen).toThrow('format 99, this version knows up to 1');
    expect(() => openAuthoritySource(temp.path)).toThrow('later version');
  });

  test('of another program is left alone', async () => {
    journal.close();
    const other = await tempFolder();
    const raw = new DatabaseSync(path.join(other.path, 'journal.db'));
    raw.exec('CREATE TABLE diary (day TEXT)');
    raw.close();
    expect(() => openJournal(other.path, options)).toThrow('database of another program');
    await other.remove();
  });

  test.each([
    ['text', Buffer.from('this is no database, it only has the right name'.repeat(100))],
    ['noise', Buffer.from(Array.from({ length: 8192 }, (_, i) => (i * 7919) % 251))],
  ])('holding %s says that it cannot be trusted', async (_what, bytes) => {
    journal.close();
    await temp.remove();
    temp = await tempFolder();
    await writeFile(file(), bytes);
    expect(reopen).toThrow(/cannot be trusted: .*not a database/);
    expect(() => openAuthoritySource(temp.path)).toThrow('cannot be trusted');
  });

  test('with a page overwritten says that it cannot be trusted', async () => {
    const owner = await own();
    const { id } = owner.createRun(plan);
    for (let i = 0; i < 200; i++) owner.intendStep(id, { name: `step ${i}`, stage: 'data', before: 'x'.repeat(500) });
    owner.release();
    journal.close();
    const raw = new DatabaseSync(file());
    const root = raw.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'steps'").get()?.rootpage;
    raw.close();
    const handle = await open(file(), 'r+');
    await handle.write(Buffer.alloc(4096, 0xa5), 0, 4096, (Number(root) - 1) * 4096);
    await handle.close();
    expect(reopen).toThrow('cannot be trusted');
  });

  test('in a place where no folder can be says which', async () => {
    await writeFile(path.join(temp.path, 'plain'), '');
    expect(() => openJournal(path.join(temp.path, 'plain', 'state'), options)).toThrow(
      /cannot be opened or written: .*plain/,
    );
  });

  test('that was made in an empty file is a new one', async () => {
    const other = await tempFolder();
    await writeFile(path.join(other.path, 'journal.db'), '');
    const made = openJournal(other.path, options);
    expect(made.authority().state).toBe('LIVE_OLD');
    made.close();
    await other.remove();
  });
});
