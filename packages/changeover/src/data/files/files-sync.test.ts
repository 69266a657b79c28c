import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Context, Progress } from '../../plan/context.ts';
import { startChild } from '../../testing/child.ts';
import { testContext } from '../../testing/context.ts';
import { tempFolder, type TempFolder } from '../../testing/temp.ts';
import { FilesSync } from './files-sync.ts';
import { globToRegExp } from './folder.ts';

let temp: TempFolder;
let ctx: Context;
let opened: FilesSync[];

beforeEach(async () => {
  temp = await tempFolder();
  ctx = testContext(temp.path);
  mkdirSync(path.join(ctx.root, 'old'), { recursive: true });
  opened = [];
});

afterEach(async () => {
  for (const sync of opened) await sync.close();
  await temp.remove();
});

function open(only: readonly string[] | null = null): FilesSync {
  const sync = new FilesSync({ kind: 'files', name: 'faces', from: 'old', to: 'new', only, spec: null });
  opened.push(sync);
  return sync;
}

type Side = 'old' | 'new';
const at = (side: Side, file: string): string => path.join(ctx.root, side, file);

function put(side: Side, file: string, content: string | Uint8Array): void {
  mkdirSync(path.dirname(at(side, file)), { recursive: true });
  writeFileSync(at(side, file), content);
}

/** Every entry with its contents, links and folders included. */
function tree(root: string): Record<string, string> {
  if (!existsSync(root)) return {};
  const names = readdirSync(root, { recursive: true }) as string[];
  return Object.fromEntries(
    names.sort().map((name) => {
      const stat = lstatSync(path.join(root, name));
      return [name, stat.isFile() ? readFileSync(path.join(root, name), 'latin1') : stat.isDirectory() ? '/' : '@'];
    }),
  );
}

const sides = () => ({ old: tree(at('old', '')), new: tree(at('new', '')) });

async function verified(
  sync: FilesSync,
  direction: 'forward' | 'reverse' = 'forward',
  scope: 'full' | 'changed' = 'full',
) {
  const [verdict] = await sync.verify(ctx, direction, scope);
  return verdict;
}

describe('the copy', () => {
  it('carries contents, modes and times to the microsecond, folders included', async () => {
    put('old', 'ann.jpg', 'ann');
    put('old', 'deep/er/bob.jpg', Buffer.alloc(3_000_000, 7));
    put('old', 'empty.jpg', '');
    chmodSync(at('old', 'ann.jpg'), 0o640);
    chmodSync(at('old', 'deep'), 0o750);
    execFileSync('touch', ['-d', '2019-03-04T05:06:07.123456789Z', at('old', 'ann.jpg')]);
    execFileSync('touch', ['-d', '1969-12-31T23:59:58.987654321Z', at('old', 'empty.jpg')]);
    const seen: Progress[] = [];
    const sync = open();
    const report = { ...ctx.report, progress: (progress: Progress) => seen.push(progress) };
    await sync.copy({ ...ctx, report });
    expect(sides().new).toEqual(sides().old);
    for (const file of ['ann.jpg', 'deep/er/bob.jpg', 'empty.jpg']) {
      const [a, b] = [statSync(at('old', file), { bigint: true }), statSync(at('new', file), { bigint: true })];
      expect([file, b.mode]).toEqual([file, a.mode]);
      expect(Math.abs(Number(b.mtimeNs - a.mtimeNs)), file).toBeLessThan(1000);
    }
    expect(statSync(at('new', 'deep')).mode & 0o777).toBe(0o750);
    expect(seen.at(-1)).toMatchObject({ done: 3_000_003, total: 3_000_003, unit: 'bytes' });
    expect(await sync.describe(ctx)).toEqual({ name: 'faces', rows: 3, unit: 'files', bytes: 3_000_003, givenUp: [] });
    expect(await verified(sync)).toMatchObject({ outcome: 'PASS', measured: 3 });
    expect(await sync.catchUp(ctx, 'forward')).toEqual({ applied: 0, pending: 0 });
  });

  it('moves hostile names as they are', async () => {
    const names = [
      'new\nline',
      ' blank ',
      'quote\'"',
      '-rf',
      '..hidden',
      'Zoë',
      'Zoe\u0308',
      '\u202egnp',
      'x'.repeat(255),
      '*?[a]',
      '\\',
    ];
    for (const name of names) put('old', name, name);
    const raw = Buffer.concat([Buffer.from(at('old', '')), Buffer.from([0x2f, 0xff, 0xfe, 0x0a])]);
    writeFileSync(raw, 'not UTF-8');
    const sync = open();
    await sync.copy(ctx);
    expect(
      readdirSync(at('new', ''), 'buffer')
        .map((name) => name.toString('hex'))
        .sort(),
    ).toEqual(
      readdirSync(at('old', ''), 'buffer')
        .map((name) => name.toString('hex'))
        .sort(),
    );
    expect(await verified(sync)).toMatchObject({ outcome: 'PASS', measured: names.length + 1 });
    rmSync(raw);
    expect(await sync.applyToEmpty(ctx, 'forward')).toEqual({ applied: 1, pending: 0 });
    expect(readdirSync(at('new', ''))).toHaveLength(names.length);
  });

  it('refuses links and devices by name, and follows none of them', async () => {
    put('old', 'ann.jpg', 'ann');
    symlinkSync('/etc', at('old', 'link'));
    execFileSync('mkfifo', [at('old', 'pipe')]);
    const findings = await open().check(ctx);
    expect(findings.map(({ level, about }) => `${level} ${about}`)).toEqual(
      expect.arrayContaining(['error old/link', 'error old/pipe']),
    );
    await expect(open().copy(ctx)).rejects.toMatchObject({ code: 'CHG_DATA_FILES_UNMOVABLE' });
    expect(sides().new).toEqual({});
    await open(['*.jpg']).copy(ctx);
    expect(sides().new).toEqual({ 'ann.jpg': 'ann' });
  });

  it('does not write through a link in the new folder', async () => {
    put('old', 'sub/ann.jpg', 'ann');
    mkdirSync(at('new', ''));
    mkdirSync(path.join(temp.path, 'elsewhere'));
    symlinkSync(path.join(temp.path, 'elsewhere'), at('new', 'sub'));
    await expect(open(['**/*.jpg']).copy(ctx)).rejects.toMatchObject({ code: 'CHG_DATA_FILES_UNMOVABLE' });
    expect(readdirSync(path.join(temp.path, 'elsewhere'))).toEqual([]);
    expect(readdirSync(at('new', ''))).toEqual(['sub']);
  });

  it('leaves files alone that are not its own, and takes over equal ones', async () => {
    put('old', 'ann.jpg', 'ann');
    put('new', 'ann.jpg', 'ann');
    put('new', 'theirs.txt', 'theirs');
    const sync = open();
    expect(await sync.check(ctx)).toMatchObject([
      { level: 'error', message: expect.stringContaining('theirs.txt') as string },
    ]);
    await expect(sync.copy(ctx)).rejects.toMatchObject({ code: 'CHG_DATA_FILES_TARGET_USED' });
    put('new', 'theirs.txt', 'theirs');
    const { ino } = statSync(at('new', 'ann.jpg'));
    const jpegs = open(['*.jpg']);
    expect(await jpegs.check(ctx)).toEqual([]);
    await jpegs.copy(ctx);
    expect(statSync(at('new', 'ann.jpg')).ino).toBe(ino);
    expect(await verified(jpegs)).toMatchObject({ outcome: 'PASS', measured: 1 });
    put('new', 'ann.jpg', 'another Ann');
    await sync.close();
    rmSync(ctx.stateDir, { recursive: true });
    await expect(open(['*.jpg']).copy(ctx)).rejects.toMatchObject({ code: 'CHG_DATA_FILES_TARGET_USED' });
    expect(sides().new).toEqual({ 'ann.jpg': 'another Ann', 'theirs.txt': 'theirs' });
  });

  it('of a second run does not trust the first one', async () => {
    put('old', 'ann.jpg', 'ann');
    put('old', 'bob.jpg', 'bob');
    put('old', 'cy.jpg', 'cy');
    const sync = open();
    await sync.copy(ctx);
    rmSync(at('old', 'ann.jpg'));
    rmSync(at('new', 'bob.jpg'));
    put('new', 'cy.jpg', 'CY');
    expect(await verified(sync)).toMatchObject({ outcome: 'FAIL' });
    await sync.copy({ ...ctx, runId: 'run-2' });
    expect(sides().new).toEqual({ 'bob.jpg': 'bob', 'cy.jpg': 'cy' });
  });

  it('checks where the folders lie', async () => {
    const nested = new FilesSync({ kind: 'files', name: 'n', from: 'old', to: 'old/sub', only: null, spec: null });
    opened.push(nested);
    expect(await nested.check(ctx)).toMatchObject([{ level: 'error', message: 'old and old/sub lie in one another' }]);
    rmSync(at('old', ''), { recursive: true });
    expect(await open().check(ctx)).toMatchObject([{ level: 'warning' }]);
    const sync = open();
    await sync.copy(ctx);
    expect(await verified(sync)).toMatchObject({ outcome: 'PASS', measured: 0 });
  });
});

describe('catching up', () => {
  it('follows new, changed, deleted and renamed files, and files that become folders', async () => {
    put('old', 'a', '1');
    put('old', 'b', '2');
    put('old', 'c/d/e', '3');
    put('old', 'f', '4');
    const sync = open();
    expect(await sync.catchUp(ctx, 'forward')).toEqual({ applied: 0, pending: 4 });
    await sync.copy(ctx);
    put('old', 'new/er', '5');
    put('old', 'a', 'one');
    rmSync(at('old', 'b'));
    renameSync(at('old', 'c'), at('old', 'g'));
    rmSync(at('old', 'f'));
    put('old', 'f/h', '6');
    expect(await sync.catchUp(ctx, 'forward')).toEqual({ applied: 7, pending: 0 });
    expect(sides().new).toEqual(sides().old);
    rmSync(at('old', 'f'), { recursive: true });
    put('old', 'f', '7');
    await open().catchUp(ctx, 'forward');
    expect(sides().new).toEqual(sides().old);
    expect(await verified(sync, 'forward', 'changed')).toMatchObject({ outcome: 'PASS' });
  });

  it('sees overwrites of the same size within the same second, with the time put back', async () => {
    put('old', 'a', 'aaaa');
    const sync = open();
    await sync.copy(ctx);
    for (let n = 1000; n < 1020; n += 1) {
      const { atime, mtime } = statSync(at('old', 'a'));
      put('old', 'a', String(n));
      utimesSync(at('old', 'a'), atime, mtime);
      expect(await sync.catchUp(ctx, 'forward')).toMatchObject({ applied: 1 });
      expect(sides().new).toEqual({ a: String(n) });
    }
  });

  it('does not read settled files again', async () => {
    put('old', 'a', 'aaaa');
    ctx = { ...ctx, clock: { ...ctx.clock, wallMs: () => Date.now() + 60_000 } };
    const sync = open();
    await sync.copy(ctx);
    const { atimeNs } = statSync(at('old', 'a'), { bigint: true });
    await new Promise((resolve) => setTimeout(resolve, 20));
    await sync.catchUp(ctx, 'forward');
    expect(statSync(at('old', 'a'), { bigint: true }).atimeNs).toBe(atimeNs);
  });

  it('never shows a half-written file as a whole one, and copies it again when it is done', async () => {
    put('old', 'a', 'start');
    const sync = open();
    await sync.copy(ctx);
    let writes = 0;
    const writer = setInterval(() => {
      appendFileSync(at('old', 'a'), Buffer.alloc(100_000, (writes += 1)));
    }, 1);
    for (let n = 0; n < 10; n += 1) await sync.catchUp(ctx, 'forward');
    clearInterval(writer);
    expect(await sync.applyToEmpty(ctx, 'forward')).toMatchObject({ pending: 0 });
    expect(sides().new).toEqual(sides().old);
    expect(readdirSync(at('new', ''))).toEqual(['a']);
  });

  it('goes both ways, and keeps the owners of each side', async () => {
    put('old', 'a', '1');
    put('old', 'b', '2');
    const isRoot = process.getuid?.() === 0;
    if (isRoot) for (const file of ['', 'a', 'b']) chownSync(at('old', file), 4321, 4321);
    const sync = open();
    await sync.copy(ctx);
    await verified(sync);
    put('new', 'a', 'one');
    rmSync(at('new', 'b'));
    put('new', 'sub/c', '3');
    expect(await sync.catchUp(ctx, 'reverse')).toEqual({ applied: 3, pending: 0 });
    expect(sides().old).toEqual({ a: 'one', sub: '/', 'sub/c': '3' });
    expect(await verified(sync, 'reverse', 'changed')).toMatchObject({ outcome: 'PASS', measured: 2 });
    if (isRoot)
      for (const file of ['a', 'sub', 'sub/c']) expect([file, statSync(at('old', file)).uid]).toEqual([file, 4321]);
    expect(await sync.catchUp(ctx, 'forward')).toEqual({ applied: 0, pending: 0 });
    put('old', 'sub/c', 'three');
    await sync.catchUp(ctx, 'forward');
    expect(sides().new).toEqual(sides().old);
  });

  it('takes a folder that vanished for a failed mount, not for deletes', async () => {
    put('old', 'a', '1');
    const sync = open();
    await sync.copy(ctx);
    rmSync(at('new', ''), { recursive: true });
    await expect(sync.catchUp(ctx, 'reverse')).rejects.toMatchObject({ code: 'CHG_DATA_FILES_SOURCE_GONE' });
    expect(sides().old).toEqual({ a: '1' });
  });

  it('gives up on files that somebody writes although everything was stopped', async () => {
    put('old', 'a', '1');
    const sync = open();
    await sync.copy(ctx);
    put('old', 'a', Buffer.alloc(20_000_000));
    const writer = setInterval(() => {
      appendFileSync(at('old', 'a'), 'x');
    }, 1);
    const result = await sync.applyToEmpty(ctx, 'forward').catch((error: unknown) => error);
    clearInterval(writer);
    if (result instanceof Error) expect(result).toMatchObject({ code: 'CHG_DATA_FILES_TORN' });
    else expect(result).toMatchObject({ pending: 0 });
  });

  it('stands still behind a gate that another owner raised', async () => {
    put('old', 'a', '1');
    const old = open();
    await old.copy(ctx);
    const owner = open();
    await owner.installEpoch({ ...ctx, epoch: 2 });
    put('old', 'a', '2');
    put('old', 'b', '3');
    await expect(old.catchUp(ctx, 'forward')).rejects.toMatchObject({ code: 'CHG_DATA_EPOCH_STALE' });
    rmSync(at('old', 'b'));
    rmSync(at('old', 'a'));
    await expect(old.applyToEmpty(ctx, 'forward')).rejects.toMatchObject({ code: 'CHG_DATA_EPOCH_STALE' });
    await expect(old.prepare(ctx)).rejects.toMatchObject({ code: 'CHG_DATA_EPOCH_STALE' });
    expect(sides().new).toEqual({ a: '1' });
  });

  it('scans two thousand files in a fraction of a second', async () => {
    for (let folder = 0; folder < 20; folder += 1) {
      mkdirSync(at('old', `f${folder}`));
      for (let file = 0; file < 100; file += 1) writeFileSync(at('old', `f${folder}/${file}.jpg`), `${folder}/${file}`);
    }
    execFileSync('cp', ['-a', at('old', ''), at('new', '')]);
    ctx = { ...ctx, clock: { ...ctx.clock, wallMs: () => Date.now() + 60_000 } };
    const sync = open();
    await sync.copy(ctx);
    put('old', 'f7/new.jpg', 'new');
    const begin = performance.now();
    expect(await sync.catchUp(ctx, 'forward')).toEqual({ applied: 1, pending: 0 });
    // Five to ten times what it takes on two idle cores.
    expect(performance.now() - begin).toBeLessThan(400);
    expect(await sync.applyToEmpty(ctx, 'forward')).toEqual({ applied: 0, pending: 0 });
    expect(await verified(sync, 'forward', 'full')).toMatchObject({ outcome: 'PASS', measured: 2001 });
  });
});

describe('verification', () => {
  it('reads both sides and names what differs', async () => {
    for (const name of ['a', 'b', 'c']) put('old', name, name);
    const sync = open();
    await sync.copy(ctx);
    const { atime, mtime } = statSync(at('new', 'a'));
    put('new', 'a', 'A');
    utimesSync(at('new', 'a'), atime, mtime);
    rmSync(at('new', 'b'));
    put('new', 'd', 'd');
    const verdict = await verified(sync);
    expect(verdict).toMatchObject({ check: 'faces: files equal', outcome: 'FAIL', measured: 4 });
    expect(verdict?.evidence).toMatch(/4 files .*3 differ: .*(a is different|b is missing|d is extra)/);
    expect(await verified(sync, 'forward', 'changed')).toMatchObject({ outcome: 'FAIL' });
  });

  it('catches up with what changes meanwhile, unless it is only a reader', async () => {
    put('old', 'a', '1');
    const sync = open();
    await sync.copy(ctx);
    expect(await verified(sync)).toMatchObject({ outcome: 'PASS' });
    put('old', 'a', '2');
    put('old', 'b', '3');
    expect((await open().verify({ ...ctx, epoch: 0 }, 'forward', 'full'))[0]).toMatchObject({
      outcome: 'INCONCLUSIVE',
    });
    expect(sides().new).toEqual({ a: '1' });
    expect(await verified(sync, 'forward', 'changed')).toMatchObject({ outcome: 'PASS', measured: 2 });
    expect(sides().new).toEqual({ a: '2', b: '3' });
  });
});

describe('rehearsing and uninstalling', () => {
  it('puts the legacy folder with the reverse changes elsewhere, and changes nothing here', async () => {
    put('old', 'a', '1');
    put('old', 'sub/b', '2');
    put('old', 'c', '3');
    const sync = open();
    await sync.copy(ctx);
    put('new', 'a', 'one');
    rmSync(at('new', 'c'));
    put('new', 'd', '4');
    const before = sides();
    const folder = path.join(temp.path, 'rehearsal');
    await sync.rehearse(ctx, folder);
    await sync.rehearse(ctx, folder);
    expect(tree(path.join(folder, 'old'))).toEqual({ a: 'one', d: '4', sub: '/', 'sub/b': '2' });
    expect(sides()).toEqual(before);
    expect(await sync.catchUp(ctx, 'reverse')).toEqual({ applied: 3, pending: 0 });
  });

  it('removes what it made and nothing else', async () => {
    put('old', 'a', '1');
    put('old', 'sub/b', '2');
    const sync = open();
    await sync.copy(ctx);
    put('new', 'a', 'changed since');
    put('new', '.changeover-1-2-3', 'half');
    await sync.uninstall(ctx, { emptyTarget: true });
    expect(sides()).toEqual({ old: { a: '1', sub: '/', 'sub/b': '2' }, new: { a: 'changed since' } });
    rmSync(at('new', 'a'));
    await sync.copy(ctx);
    await sync.uninstall(ctx, { emptyTarget: false });
    expect(sides().new).toEqual(sides().old);
    await sync.copy(ctx);
    await sync.uninstall(ctx, { emptyTarget: true });
    expect(sides().new).toEqual({});
  });
});

describe('a kill', () => {
  async function killedAt(point: string, pass: number, what: 'copy' | 'forward' | 'reverse'): Promise<void> {
    const child = startChild(new URL('./files.child.ts', import.meta.url).pathname, {
      args: [temp.path, point, String(pass), what],
    });
    expect(await child.exited, child.output()).toEqual({ code: null, signal: 'SIGKILL' });
  }

  it.each([
    ['data.files.intended', 1],
    ['data.files.renamed', 2],
    ['data.files.recorded', 1],
  ])('at %s (%i) of the copy is gone on from, also when a file was deleted meanwhile', async (point, pass) => {
    for (const name of ['a', 'b/c', 'd']) put('old', name, name);
    await killedAt(point, pass, 'copy');
    rmSync(at('old', 'a'));
    const sync = open();
    await sync.prepare(ctx);
    await sync.copy(ctx);
    expect(sides().new).toEqual(sides().old);
    expect(await verified(sync)).toMatchObject({ outcome: 'PASS', measured: 2 });
  });

  it.each([
    ['data.files.intended', 1],
    ['data.files.renamed', 1],
    ['data.files.recorded', 1],
    ['data.files.deleted', 1],
    ['data.files.deleted', 2],
  ])('at %s (%i) of the way back leaves whole files, and is gone on from', async (point, pass) => {
    for (const name of ['a', 'b', 'c', 'd']) put('old', name, name.repeat(1000));
    const sync = open();
    await sync.copy(ctx);
    put('new', 'a', 'A'.repeat(1000));
    put('new', 'e', 'e');
    for (const name of ['c', 'd']) rmSync(at('new', name));
    await killedAt(point, pass, 'reverse');
    for (const [name, content] of Object.entries(sides().old)) {
      if (!name.startsWith('.changeover-'))
        expect(['', name, name.toUpperCase()].map((x) => x.repeat(name === 'e' ? 1 : 1000))).toContain(content);
    }
    await sync.prepare(ctx);
    await sync.applyToEmpty(ctx, 'reverse');
    expect(sides().old).toEqual(sides().new);
    expect(Object.keys(sides().old)).toEqual(['a', 'b', 'e']);
  });
});

it.each([
  ['*.jpg', 'a.jpg', true],
  ['*.jpg', 'sub/a.jpg', false],
  ['**/*.jpg', 'a.jpg', true],
  ['**/*.jpg', 'sub/er/a.jpg', true],
  ['sub/**', 'sub/er/a', true],
  ['sub/**', 'subs/a', false],
  ['a?c', 'abc', true],
  ['a?c', 'a/c', false],
  ['[!a]b', 'cb', true],
  ['[!a]b', 'ab', false],
  ['a+(b).jpg', 'a+(b).jpg', true],
  ['*', 'new\nline', true],
])('the pattern %s and the name %j: %s', (glob, name, isMatch) => {
  expect(globToRegExp(glob).test(name)).toBe(isMatch);
});
