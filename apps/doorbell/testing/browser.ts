import { packageIsMissing } from 'changeover/testing';
import { type Browser, chromium } from 'playwright-core';

const EXECUTABLE = '/usr/bin/chromium';

/** Why no Chromium can be started here; null where one can. On Debian, root gets `chromium` installed where it is missing. */
export function chromiumIsMissing(): Promise<string | null> {
  return packageIsMissing('chromium', [EXECUTABLE]);
}

/** Chromium without a window; root has no sandbox. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: EXECUTABLE, args: ['--no-sandbox'] });
}
