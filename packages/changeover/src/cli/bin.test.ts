import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VERBS } from './command-line.ts';

const BIN = fileURLToPath(new URL('../../bin/changeover.js', import.meta.url));
const LIBRARY = new URL('../changeover.ts', import.meta.url).href;
const env = { ...process.env, NODE_OPTIONS: '--conditions=@changeover/source' };

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'changeover-bin-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function changeover(...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [BIN, ...args], { cwd: folder, env }, (_error, stdout, stderr) => {
      resolve({ code: child.exitCode ?? -1, stdout, stderr });
    });
    child.stdin?.end();
  });
}

async function withPlan(name: string, source: string, ...args: string[]): Promise<Ran> {
  await writeFile(path.join(folder, name), source);
  return changeover(...args, '--config', name);
}

describe('the program', () => {
  it.each(VERBS)('helps with $name, with examples', async ({ name, examples }) => {
    const ran = await changeover(name, '--help');
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(ran.stdout).toContain(`Usage: changeover ${name}`);
    const lines = ran.stdout.split('\n');
    for (const { command, does } of examples) {
      expect(lines.some((line) => line.startsWith(`  ${command}  `) && line.endsWith(does))).toBe(true);
    }
    for (const flag of ['--config', '--state', '--json', '--yes', '--help']) expect(ran.stdout).toContain(flag);
  });

  it('tells its version', async () => {
    const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(await changeover('--version')).toEqual({ code: 0, stdout: `${manifest.version}\n`, stderr: '' });
  });

  it('refuses an unknown flag and an unknown verb with exit code 2', async () => {
    expect(await changeover('run', '--trough')).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('did you mean --through?') as string,
    });
    expect(await changeover('cutoff')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('did you mean cutover?') as string,
    });
  });

  it('says where it looked for the plan', async () => {
    const ran = await changeover('check');
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toContain(`there is no plan at ${path.join(folder, 'changeover.config.ts')}`);
  });

  it('survives a reader that goes away', async () => {
    const child = spawn(process.execPath, [BIN, 'run', '--help'], {
      cwd: folder,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.destroy();
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (part: string) => (stderr += part));
    const [code] = (await once(child, 'close')) as [number];
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });
});

describe('a plan that cannot be used', () => {
  it('because its TypeScript is broken is told with the place', async () => {
    const ran = await withPlan('broken.ts', 'export default {{{;\n', 'check');
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toContain('broken.ts');
    expect(ran.stderr).toContain('CHG_PLAN_FILE');
  });

  it('because it imports what is not there is told with the name', async () => {
    const ran = await withPlan('import.ts', "import { x } from './nowhere.ts';\nexport default x;\n", 'status');
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('nowhere.ts');
  });

  it('because it exports something else is told', async () => {
    for (const source of ['export const plan = 1;\n', 'export default { name: "x" };\n']) {
      const ran = await withPlan(`other-${source.length}.ts`, source, 'plan');
      expect(ran).toMatchObject({ code: 2, stdout: '' });
      expect(ran.stderr).toContain('defineChangeover');
    }
  });

  it('because it is invalid is told with every problem, also with --json, and nothing is written', async () => {
    const source = `import { command, defineChangeover } from ${JSON.stringify(LIBRARY)};
      export default defineChangeover({
        name: 'door bell',
        legacy: { units: [command('node server.js', { url: 'http://127.0.0.1:5001' })] },
        next: { units: [] },
        gateway: { lisen: 5000 },
      });\n`;
    const ran = await withPlan('invalid.ts', source, 'check');
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    for (const told of [
      'name: expected a short name',
      'next.units: expected at least one unit',
      'rename lisen to listen',
      'write listen:',
    ]) {
      expect(ran.stderr).toContain(told);
    }
    const json = await withPlan('invalid.ts', source, 'run', '--yes', '--json');
    expect(json).toMatchObject({ code: 2, stderr: '' });
    expect(JSON.parse(json.stdout)).toMatchObject({ event: 'error', code: 'CHG_PLAN_INVALID', exitCode: 2 });
    expect((await readdir(folder)).filter((name) => !name.endsWith('.ts'))).toEqual([]);
  });
});

describe('a good plan', () => {
  const source = `import { command, defineChangeover } from ${JSON.stringify(LIBRARY)};
    export default defineChangeover({
      name: 'doorbell',
      legacy: { units: [command('node old.js', { url: 'http://127.0.0.1:1' })] },
      next: { units: [command('node new.js', { url: 'http://127.0.0.1:2' })] },
      gateway: { listen: '127.0.0.1:59999' },
    });\n`;

  it('has a status before its first run, which leads to the next command', async () => {
    const ran = await withPlan('good.ts', source, 'status', '--state', 'state-a');
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(ran.stdout).toContain('doorbell  no run yet');
    expect(ran.stdout).toMatch(/→ changeover \w+/);
    const json = await withPlan('good.ts', source, 'status', '--json', '--state', 'state-a');
    expect(JSON.parse(json.stdout)).toMatchObject({
      event: 'result',
      verb: 'status',
      exitCode: 0,
      status: { plan: 'doorbell', run: null },
    });
  });

  it('is not run without a yes where nobody can answer', async () => {
    const ran = await withPlan('good.ts', source, 'run', '--state', 'state-b');
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toContain('→ Run `changeover run --state state-b --config good.ts --yes`');
  });
});
