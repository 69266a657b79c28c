import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { type Browser, chromium } from 'playwright-core';

const run = promisify(execFile);

const EXECUTABLE = '/usr/bin/chromium';
/** One installation at a time on this machine, whoever asks for it. */
const INSTALL_LOCK = path.join(tmpdir(), 'doorbell-install-chromium.lock');
const INSTALL = `test -x ${EXECUTABLE} && exit 0
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 chromium; }
install || { apt-get update -qq && install; }`;

/**
 * Why no Chromium can be started here; null where one can. On Debian, root gets `chromium` installed where it is missing, which takes some ten
 * seconds. Throws in continuous integration, where nobody reads what was skipped.
 */
export async function chromiumIsMissing(): Promise<string | null> {
  const canInstall = process.getuid?.() === 0 && (await succeeds('command -v apt-get && command -v flock'));
  if (canInstall) {
    // Even the look is under the lock: half an installation is none.
    await run('flock', [INSTALL_LOCK, 'sh', '-c', INSTALL], { maxBuffer: 64 * 1024 * 1024 });
    return null;
  }
  if (await succeeds(`test -x ${EXECUTABLE}`)) return null;
  const reason = `${EXECUTABLE} is not installed, and only root on Debian may install it`;
  if (process.env['CI'] !== undefined) throw new Error(`${reason}: install chromium`);
  return reason;
}

/** Chromium without a window; root has no sandbox. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: EXECUTABLE, args: ['--no-sandbox'] });
}

async function succeeds(script: string): Promise<boolean> {
  return run('sh', ['-c', script]).then(
    () => true,
    () => false,
  );
}
