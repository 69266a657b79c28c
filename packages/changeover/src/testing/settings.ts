import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, vi } from 'vitest';
import { z } from 'zod';
import type { Context } from '../plan/context.ts';
import type { Finding } from '../plan/words.ts';
import { testContext } from './context.ts';
import { tempFolder, type TempFolder } from './temp.ts';

/** A folder with settings for each test of a file that imports this. */
let temp: TempFolder;
export let ctx: Context;
/** What was told through `ctx.report`, warnings and remarks. */
export let logged: string[];

beforeEach(async () => {
  temp = await tempFolder();
  logged = [];
  const log = (message: string): void => void logged.push(message);
  ctx = testContext(temp.path, { report: { progress: () => undefined, warn: log, log } });
  await mkdir(ctx.root);
});
afterEach(() => {
  vi.unstubAllEnvs();
  return temp.remove();
});

export async function put(name: string, text: string | Uint8Array, mode = 0o644): Promise<void> {
  await mkdir(dirname(join(ctx.root, name)), { recursive: true });
  await writeFile(join(ctx.root, name), text);
  await chmod(join(ctx.root, name), mode);
}

export function at(name: string): Promise<string> {
  return readFile(join(ctx.root, name), 'utf8');
}

export function said(findings: readonly Finding[], level: Finding['level'] = 'error'): string[] {
  return findings.filter((finding) => finding.level === level).map(({ message }) => message);
}

/** Settings of a new side, as its own program would check them. */
export const Pipeline = z.object({
  frameCapture: z.object({
    debounceMs: z.number().int().default(5000),
    fps: z.number().min(1).max(60).default(10),
    resolution: z.object({ width: z.number(), height: z.number() }).default({ width: 640, height: 480 }),
  }),
  faceRecognition: z
    .object({ tolerance: z.number().max(1).default(0.5), enabled: z.boolean().default(true) })
    .prefault({}),
  notifications: z.object({ known: z.boolean().default(true), contacts: z.array(z.string()).default([]) }).prefault({}),
  telegram: z.object({ botToken: z.string().optional() }).prefault({}),
});
