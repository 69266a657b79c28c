import { closeSync, fsyncSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';

/** For its owner alone: settings hold secrets. */
const NEW_FILE_MODE = 0o600;

/** Exchanges a file as a whole: after a crash it is the old one or the new one. Keeps its permissions. */
export function replaceFile(file: string, text: string): void {
  const draft = `${file}.draft`;
  const mode = statSync(file, { throwIfNoEntry: false })?.mode ?? NEW_FILE_MODE;
  rmSync(draft, { force: true });
  const handle = openSync(draft, 'wx', mode);
  try {
    writeSync(handle, text);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(draft, file);
}
