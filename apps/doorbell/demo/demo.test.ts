import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const DEMO = fileURLToPath(new URL('./main.ts', import.meta.url));
const TIMEOUT_MS = 600_000;

describe('the whole move of the doorbell', () => {
  it('loses nothing and fails nobody with Postgres as the new store', { timeout: TIMEOUT_MS }, async () => {
    const child = spawn(process.execPath, [DEMO, '--json', '--postgres'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
    const [code] = (await once(child, 'close')) as [number | null];
    const last = output.trim().split('\n').at(-1) ?? '';
    expect({ code, last: last.startsWith('{"event":"result"') ? 'a result' : output.slice(-4000) }).toEqual({
      code: 0,
      last: 'a result',
    });
    const result = JSON.parse(last) as Record<string, number>;
    expect(result).toMatchObject({ failed: 0, writesMissing: 0, writesDuplicated: 0, kills: 2, rollbacks: 1 });
    expect(result['writesAcknowledged']).toBeGreaterThan(20);
    expect(result['rowsVerified']).toBeGreaterThan(20_000);
  });
});
