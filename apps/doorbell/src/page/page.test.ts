import { mkdir, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { EventStream } from '@changeover/runtime';
import { startChild, tempFolder } from 'changeover/testing';
import axe from 'axe-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, assert, beforeAll, describe, expect, test } from 'vitest';
import { people, type Person } from '../../seed/people.ts';
import { Faces } from '../../shared/faces.ts';
import { chromiumIsMissing, startBrowser } from '../../testing/browser.ts';
import { call, until } from '../../testing/client.ts';
import { buildApp } from '../app.ts';
import { openSystem } from '../system.ts';

const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } } as const;
const HOSTILE = `<img src=x onerror="document.title='owned'"> O'Neil & "Zoë" <script>document.title='owned'</script>`;
const RIGHT_TO_LEFT = 'ליאת \u202eabc';
const missing = await chromiumIsMissing();

const faces = new Faces();
const temp = await tempFolder('doorbell-page-');
const closing: (() => Promise<unknown>)[] = [];
let browser: Browser;
let stranger: Person;
let roots = 0;

beforeAll(async () => {
  stranger = (await people()).find(({ role }) => role === 'stranger') ?? expect.fail();
  await faces.warm();
  if (missing === null) browser = await startBrowser();
}, 120_000);
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
afterAll(async () => {
  if (missing === null) await browser.close();
  await faces.close();
  await temp.remove();
});

/** A doorbell with a stranger at the door; with `events`, one that tells what happens. */
async function serve({ events = false, visitor = true } = {}) {
  const root = path.join(temp.path, `root-${roots++}`);
  const porch = path.join(root, 'porch');
  await mkdir(porch, { recursive: true });
  await mkdir(path.join(root, 'config'));
  if (visitor) await writeFile(path.join(porch, 'now.jpg'), stranger.portraits.at(-1)?.jpeg ?? '');
  const settings = { hardware: { button_debounce_time: 0 }, frame_capture: { retry_delay: 0.01 } };
  await writeFile(path.join(root, 'config/pipeline.json'), JSON.stringify(settings));
  const system = await openSystem({ root, faces, environment: { CAMERA_FOLDER: porch } });
  closing.push(async () => {
    await system.activity.passivate();
    await system.runtime.stop();
  });
  const app = await buildApp(system);
  const stream = new EventStream();
  if (events && !app.hasRoute({ method: 'GET', url: '/stream/events' })) {
    app.get('/stream/events', (request, reply) => {
      stream.join(request, reply, { event: 'connected', data: {} });
    });
    system.bell.onVisit(({ eventId }) => {
      stream.send('event', { event_id: eventId });
    });
  }
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  closing.push(async () => {
    stream.close();
    app.server.closeAllConnections();
    await app.close();
  });
  const ring = () => call(address, { method: 'POST', path: '/api/trigger-doorbell' });
  const learn = (name: string, isBlacklisted = false) =>
    system.storage.addEncoding(
      { personId: `${isBlacklisted ? 'blacklist' : 'known'}:${name}`, name, isBlacklisted },
      [...(stranger.portraits[0]?.encoding ?? [])],
      0,
    );
  return { ...system, app, address, ring, learn };
}

/** The page, and everything that went wrong in it. */
async function open(address: string, options: BrowserContextOptions = { viewport: SIZES.desktop }) {
  const context = await browser.newContext(options);
  closing.push(() => context.close());
  const page = await context.newPage();
  // Before the test's own, so that a failure names what was waited for.
  page.setDefaultTimeout(15_000);
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (message) => {
    if (/Content Security Policy/.test(message.text())) problems.push(message.text());
  });
  await page.goto(address);
  return { page, problems };
}

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const found =
    await page.evaluate(`axe.run().then(({ violations, passes }) => passes.length === 0 ? ['nothing was looked at'] :
    violations.map(({ id, impact, nodes }) => impact + ' ' + id + ': ' + nodes.map(({ html }) => html).join(' | ')))`);
  return found as string[];
}

describe.skipIf(missing !== null)('the page', () => {
  for (const [name, viewport] of Object.entries(SIZES)) {
    test(`shows a press without a reload, asking for it, on a ${name}`, async () => {
      const { address, ring } = await serve();
      const { page, problems } = await open(address, { viewport });
      await page.getByText('Nobody has rung yet').waitFor();
      await ring();
      await page.locator('#visit-list li').getByText('Somebody unknown').waitFor();
      await page.locator('#visit-list img').waitFor();
      await page.getByRole('button', { name: 'Show the picture: Somebody unknown' }).click();
      await page.getByRole('dialog', { name: 'Somebody unknown' }).waitFor();
      await page.keyboard.press('Escape');
      expect(problems).toEqual([]);
    });
  }

  test('has nothing that keeps people out, in both sizes and both colour schemes', async () => {
    const { address, ring, learn, app } = await serve();
    await learn(HOSTILE);
    await learn(RIGHT_TO_LEFT);
    await learn('Wanted', true);
    await learn('x'.repeat(300));
    await ring();
    await until(async () => (await app.inject('/health/idle')).json<{ idle: boolean }>().idle, Boolean);
    for (const viewport of Object.values(SIZES)) {
      for (const colorScheme of ['light', 'dark'] as const) {
        const { page } = await open(address, { viewport, colorScheme, reducedMotion: 'reduce' });
        await page.locator('#visit-list li').waitFor();
        await page.getByText('of 100').waitFor();
        await page.locator('#people-list li').nth(2).waitFor();
        expect(await violations(page)).toEqual([]);
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(viewport.width);
        const small =
          await page.evaluate(`[...document.querySelectorAll('button, input, nav a, summary')].filter((node) => {
          const { width, height } = node.getBoundingClientRect();
          return width > 0 && (width < 44 || height < 44);
        }).map((node) => node.outerHTML)`);
        expect(small).toEqual([]);
        await page.locator('#people-list button').first().click();
        await page.getByRole('dialog').waitFor();
        expect(await violations(page)).toEqual([]);
      }
    }
  });

  test('is told of a press where the server tells it', async () => {
    const { address, ring } = await serve({ events: true });
    const { page } = await open(address);
    await page.getByText('Live', { exact: true }).and(page.locator('#link')).waitFor();
    await page.getByText('Nobody has rung yet').waitFor();
    await ring();
    // Beside events the page asks only every fifteen seconds.
    await page.locator('#visit-list li').waitFor({ timeout: 8000 });
  });

  test('names an unknown face, deletes a person after asking, and adds one by upload and camera', async () => {
    const { address, storage } = await serve();
    const { page, problems } = await open(address, { viewport: SIZES.phone });
    await page.getByRole('button', { name: 'Ring the bell' }).click();
    await page
      .getByRole('textbox', { name: /^Name for the face of/ })
      .or(page.getByRole('combobox', { name: /^Name for the face of/ }))
      .fill('Zoë');
    await page.getByRole('button', { name: /^Save the name/ }).press('Enter');
    await page.getByText('No unknown faces').waitFor();
    expect((await storage.people()).map(({ name }) => name)).toEqual(['Zo']);
    await page.locator('#people-list').getByText('Zo', { exact: true }).waitFor();

    const remove = page.getByRole('button', { name: 'Delete Zo' });
    await remove.click();
    await page.getByRole('button', { name: 'Cancel' }).click();
    expect(await storage.people()).toHaveLength(1);
    await remove.click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByText('Nobody is known yet').waitFor();
    expect(await storage.people()).toEqual([]);

    const name = page.getByRole('textbox', { name: 'Name', exact: true });
    await name.fill('Ann');
    await page.getByRole('button', { name: 'Add this picture' }).click();
    await page.locator('#add-answer').getByText('Choose a picture first').waitFor();
    const picture = Buffer.from(stranger.portraits[0]?.jpeg ?? []);
    await page
      .getByLabel('Picture of the face')
      .setInputFiles({ name: 'a.jpg', mimeType: 'image/jpeg', buffer: picture });
    await page.getByRole('button', { name: 'Add this picture' }).click();
    await page.locator('#people-list').getByText('Ann', { exact: true }).waitFor();
    await name.fill('Bob');
    await page.getByRole('button', { name: 'Add from the camera' }).click();
    await page.locator('#people-list').getByText('Bob', { exact: true }).waitFor();
    expect(problems).toEqual([]);
  });

  test('shows hostile names as the text they are, and deletes them', async () => {
    const { address, ring, learn, storage } = await serve();
    await learn(HOSTILE);
    const { page } = await open(address);
    await ring();
    await page.locator('#visit-list').getByText(HOSTILE, { exact: true }).waitFor();
    await page.locator('#people-list').getByText(HOSTILE, { exact: true }).waitFor();
    await page.locator('#people-list button').click();
    await page.getByRole('dialog').getByText(HOSTILE).waitFor();
    expect(await page.title()).toBe('Doorbell');
    expect(await page.locator('img[onerror], main script').count()).toBe(0);
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByText('Nobody is known yet').waitFor();
    expect(await storage.people()).toEqual([]);
  });

  test('pages through visits, each once, and keeps them while new ones come', async () => {
    const { address, ring, storage } = await serve();
    const data = JSON.stringify({ faces: [], capture: null, local_time: '2026-11-21T08:13:34' });
    for (let number = 0; number < 45; number++) {
      const event = {
        eventId: `e${number}`,
        type: 'NO_FACES_DETECTED',
        timestamp: 1_795_258_000 + (number >> 1),
        source: 'doorbell',
        priority: 'HIGH',
        confidence: null,
        correlationId: null,
        data,
      };
      await storage.addEvent(event, null, []);
    }
    const { page } = await open(address);
    const rows = page.locator('#visit-list li');
    const older = page.getByRole('button', { name: 'Older visits' });
    await expect.poll(() => rows.count()).toBe(20);
    await older.click();
    await expect.poll(() => rows.count()).toBe(40);
    await ring();
    await expect.poll(() => rows.count(), { timeout: 10_000 }).toBe(41);
    await older.click();
    await expect.poll(() => rows.count()).toBe(46);
    expect(await older.isVisible()).toBe(false);
    const keys: unknown = await page.evaluate(
      '[...document.querySelectorAll("#visit-list li")].map((node) => Number(node.dataset.key))',
    );
    assert(Array.isArray(keys));
    expect(keys).toEqual(keys.toSorted((a, b) => Number(b) - Number(a)));
    expect(await page.locator('#visit-list li').first().textContent()).toContain('Somebody unknown');
  });

  test('can be used with the keyboard alone, and keeps what is being typed', async () => {
    const { address, ring } = await serve();
    await ring();
    const { page } = await open(address);
    const input = page.locator('#unknown-list input');
    await input.focus();
    await page.keyboard.type('An');
    await ring();
    await expect.poll(() => page.locator('#unknown-list li').count(), { timeout: 10_000 }).toBe(2);
    await page.keyboard.type('n');
    await page.keyboard.press('Enter');
    await page.locator('#people-list').getByText('Ann', { exact: true }).waitFor();
    await page.locator('#people-list button').focus();
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Cancel');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByText('Nobody is known yet').waitFor();
    expect(await page.evaluate('document.activeElement.textContent')).toBe('People');
    const ringed = await page.evaluate(`(() => {
      document.querySelector('#ring').focus({ focusVisible: true });
      return getComputedStyle(document.activeElement).outlineStyle;
    })()`);
    expect(ringed).toBe('solid');
  });

  test('tells when the camera gives no picture and when another side is in charge', async () => {
    const { address, app } = await serve({ visitor: false });
    const { page } = await open(address);
    await page.locator('#frame-note').getByText('The camera gives no picture.').waitFor();
    await app.inject({ method: 'POST', url: '/control/passivate' });
    await page.locator('#frame-note').getByText('Another doorbell has the camera').waitFor();
    await page.getByRole('button', { name: 'Ring the bell' }).click();
    await page.getByText('Another doorbell is in charge at the moment').waitFor();
  });

  test('tells that the server is gone, and mends itself when it is back', async () => {
    const root = path.join(temp.path, 'gone');
    await mkdir(root);
    const main = new URL('../main.ts', import.meta.url).pathname;
    const start = async (port: number) => {
      const child = startChild(main, { env: { DOORBELL_ROOT: root, PORT: String(port) } });
      const address = /http:\S+?(?=,)/.exec(await child.line(/^Doorbell at/))?.[0] ?? '';
      return { child, address };
    };
    const first = await start(0);
    const { page } = await open(first.address);
    await page.getByText('of 100').waitFor();
    await first.child.kill('SIGKILL');
    await page.getByRole('alert').getByText('The doorbell does not answer').waitFor();
    const second = await start(Number(new URL(first.address).port));
    closing.push(() => second.child.kill('SIGKILL'));
    await page.getByText('Connected again').waitFor();
    expect(await page.getByRole('alert').textContent()).toBe('');
    await page.getByRole('button', { name: 'Ring the bell' }).click();
    await page.locator('#visit-list li').waitFor();
  }, 60_000);
});

test('files of the page answer with a policy against foreign scripts, and nothing else is served', async () => {
  const { app } = await serve();
  const page = await app.inject('/');
  expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
  expect(page.headers['content-security-policy']).toContain("default-src 'self'");
  expect(page.body).not.toMatch(/<script(?![^>]*src=)|<style|\son\w+=|\sstyle=/);
  const same = await app.inject({
    url: '/app/page.js',
    headers: { 'if-none-match': String((await app.inject('/app/page.js')).headers.etag) },
  });
  expect(same.statusCode).toBe(304);
  for (const url of [
    '/app/../routes/page.ts',
    '/app/%2e%2e%2froutes%2fpage.ts',
    '/app/nothing.js',
    '/app/captures/..%2f..%2fpipeline.db',
    '/app/captures/none.jpg',
  ])
    expect([url, (await app.inject(url)).statusCode]).toEqual([url, 404]);
  for (const before of ['x', '1e3_1', '1_', "1_1'--"])
    expect((await app.inject({ url: '/app/events', query: { before } })).statusCode).toBe(400);
  expect((await app.inject('/app/events')).headers['access-control-allow-origin']).toBeUndefined();
  expect((await app.inject('/api/recent-events')).headers['access-control-allow-origin']).toBe('*');
  expect((app.server.address() as AddressInfo).address).toBe('127.0.0.1');
});
