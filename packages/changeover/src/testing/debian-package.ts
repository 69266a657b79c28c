import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** The environment for programs of a package: Debian's place for servers is not in everybody's path. */
export const packageEnvironment = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` };
/** Debian starts what it installs, except in runlevel 1. */
const INSTALL = `export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
install() { apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$0"; }
install || { apt-get update -qq && install; }`;

/**
 * Why the programs of a Debian package cannot be used here; null where they can. On Debian, root gets the package installed where one of them is
 * missing, which takes some ten seconds. Throws in continuous integration, where nobody reads what was skipped.
 *
 * @param name The package: `mosquitto`.
 * @param programs What must be there: `mosquitto`, `mosquitto_passwd`. Default: one with the name of the package.
 */
export async function packageIsMissing(name: string, programs: readonly string[] = [name]): Promise<string | null> {
  const present = programs.map((program) => `command -v ${program} >&2`).join(' && ');
  if (process.getuid?.() === 0 && (await succeeds('command -v apt-get && command -v flock'))) {
    // One installation at a time on this machine, whoever asks for it; even the look is under the lock: half an installation is none.
    const lock = path.join(tmpdir(), `changeover-install-${name}.lock`);
    const script = `{ ${present}; } && exit 0\n${INSTALL}`;
    await run('flock', [lock, 'sh', '-c', script, name], { env: packageEnvironment, maxBuffer: 64 * 1024 * 1024 });
    return null;
  }
  if (await succeeds(present)) return null;
  const reason = `${programs.join(', ')} of the package ${name} is not installed, and only root on Debian may install it`;
  if (process.env['CI'] !== undefined) throw new Error(`${reason}: apt-get install ${name}`);
  return reason;
}

async function succeeds(script: string): Promise<boolean> {
  return run('sh', ['-c', script], { env: packageEnvironment }).then(
    () => true,
    () => false,
  );
}
