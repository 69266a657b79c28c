/**
 * The packages as a user would get them: packed, linted, unpacked into a folder outside of the repository, imported and run there.
 * Works without a network: the dependencies that a package declares, and no others, are linked from this repository.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

/** A consumer's environment: without our own export condition, and without what npm tells its scripts. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => name !== 'NODE_OPTIONS' && !name.startsWith('npm_')),
);

/** Runs a program. Returns its output; on failure throws an error that shows it. */
async function run(program, args, cwd) {
  try {
    return (await promisify(execFile)(program, args, { cwd, env: { ...env, NO_COLOR: '1' } })).stdout;
  } catch (error) {
    throw new Error(`${path.basename(program)} ${args.join(' ')}\n${error.stdout}${error.stderr}`.trim(), {
      cause: error,
    });
  }
}

/** Checks every package that is published. Returns what is wrong, a text each; empty is good. */
export async function checkPackages(root) {
  const problems = [];
  for (const folder of await readdir(path.join(root, 'packages'))) {
    const place = path.join(root, 'packages', folder);
    const manifest = JSON.parse(await readFile(path.join(place, 'package.json'), 'utf8'));
    if (manifest.private !== true) problems.push(...(await checkPackage(root, place, manifest)));
  }
  return problems;
}

async function checkPackage(root, place, manifest) {
  const temp = await mkdtemp(path.join(tmpdir(), 'changeover-package-'));
  const bin = (name) => path.join(root, 'node_modules/.bin', name);
  const problems = [];
  const attempt = async (what, action) => {
    try {
      await action();
    } catch (error) {
      problems.push(`${manifest.name}: ${what}: ${error.message}`);
    }
  };
  try {
    const packed = JSON.parse(
      await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', temp], place),
    )[0];
    const tarball = path.join(temp, packed.filename);
    const names = packed.files.map((file) => file.path);
    await attempt('contents', () => checkContents(names, manifest));
    await attempt('publint', () => run(bin('publint'), ['run', tarball, '--strict'], place));
    await attempt('attw', () => run(bin('attw'), [tarball, '--profile', 'esm-only', '--no-emoji'], place));
    await attempt('consumer', () => checkConsumer(root, place, temp, tarball, manifest));
  } finally {
    await rm(temp, { recursive: true });
  }
  return problems;
}

function checkContents(names, manifest) {
  const unwanted = names.filter((name) =>
    /\.(test|test-d|child)\.|\.tsbuildinfo$|(^|\/)(fixtures|\.changeover)\//.test(name),
  );
  const missing = ['README.md', 'LICENSE'].filter((name) => !names.includes(name));
  const targets = Object.values(manifest.exports).flatMap((target) =>
    typeof target === 'string' ? [target] : Object.values(target),
  );
  for (const target of [...targets, ...Object.values(manifest.bin ?? {})])
    if (!names.includes(path.posix.normalize(target))) missing.push(target);
  if (unwanted.length + missing.length > 0)
    throw new Error(`unwanted: ${unwanted.join(', ') || 'none'}; missing: ${missing.join(', ') || 'none'}`);
}

/** Unpacks the tarball as npm would, links the declared dependencies, imports each entry and runs the command. */
async function checkConsumer(root, place, temp, tarball, manifest) {
  const modules = path.join(temp, 'consumer', 'node_modules');
  await mkdir(modules, { recursive: true });
  await run('tar', ['-xzf', tarball, '-C', temp]);
  // A scope is a folder of its own.
  await mkdir(path.dirname(path.join(modules, manifest.name)), { recursive: true });
  await rename(path.join(temp, 'package'), path.join(modules, manifest.name));
  for (const dependency of Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })) {
    const source = [place, root].map((from) => path.join(from, 'node_modules', dependency)).find(existsSync);
    if (source === undefined) throw new Error(`dependency ${dependency} is not installed`);
    await mkdir(path.dirname(path.join(modules, dependency)), { recursive: true });
    await symlink(source, path.join(modules, dependency), 'junction');
  }
  const cwd = path.join(temp, 'consumer');
  const [commands, entries] = [Object.values(manifest.bin ?? {}), Object.entries(manifest.exports)];
  for (const [entry, target] of entries) {
    // The command's own entry runs when imported; it is covered by running the command.
    if (typeof target === 'string' || entry === './cli') continue;
    const name = path.posix.join(manifest.name, entry);
    const script = `const all = Object.keys(await import('${name}')); if (all.length === 0) throw new Error('${name} is empty')`;
    await run(process.execPath, ['--input-type=module', '--eval', script], cwd);
  }
  for (const command of commands) {
    const printed = await run(process.execPath, [path.join(modules, manifest.name, command), '--version'], cwd);
    if (printed.trim() !== manifest.version) throw new Error(`--version printed ${printed}, not ${manifest.version}`);
  }
}
