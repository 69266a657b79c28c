import { createHash } from 'node:crypto';
import { access, constants } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { SettingsPort } from '../plan/ports.ts';
import { specOf } from '../plan/spec.ts';
import type { Finding, Json } from '../plan/words.ts';
import { invert } from './invert.ts';
import type { Inverted } from './invert.ts';
import { isSecret, MASK } from './mask.ts';
import { planRules } from './rules.ts';
import type { Plan, SettingsDefinition } from './rules.ts';
import { specOfSchema } from './schema.ts';
import type { StandardSchema } from './schema.ts';
import { settle } from './settle.ts';
import type { Settled } from './settle.ts';
import type { Target } from './target.ts';
import { formatPath } from './tree.ts';
import {
  isMissing,
  isTooOpen,
  keepBytes,
  look,
  removeDurably,
  removeEmptyFolders,
  removeLeftover,
  restrict,
  writeDurably,
} from './write.ts';

const SHOWN_PROBLEMS = 10;

export interface Settings extends SettingsPort {
  /** The new settings as the legacy would have said them, where the rules can be run backwards. */
  invert(tree: Json): Inverted;
}

interface FileBefore {
  readonly file: string;
  /** Name of the former bytes in `<stateDir>/settings`; null where there was no file. */
  readonly saved: string | null;
  readonly mode: number;
  /** Folders that had to be made for it, the deepest first. */
  readonly folders: readonly string[];
}

/**
 * Moves settings from their legacy files to the new ones: every legacy key is moved, kept or dropped with a reason, and the new file
 * is validated as a whole before it is written. Secrets go to a file of their own and are never shown.
 *
 * Throws `CHG_CONFIG_DEFINITION` when the definition contradicts itself.
 *
 * @example
 * settings({
 *   from: [pythonModule('config/settings.py'), dotenv('.env', { optional: true })],
 *   to: jsonFile('config/pipeline.json'),
 *   secrets: dotenv('.env.next'),
 *   schema: PipelineConfig,
 *   map: {
 *     DEBOUNCE_TIME: { to: 'frameCapture.debounceMs', unit: { from: 's', to: 'ms' }, default: 2 },
 *     TELEGRAM_BOT_TOKEN: { env: 'TELEGRAM_BOT_TOKEN', secret: true },
 *     MAX_LOG_FILE_SIZE: { drop: 'the new system does not write log files' },
 *   },
 * });
 */
export function settings<const Schema extends StandardSchema = StandardSchema>(
  definition: SettingsDefinition<Schema>,
): Settings {
  const plan = planRules(definition);
  return {
    spec: specOfPlan(plan),
    async check(ctx) {
      const settled = await settle(ctx, plan);
      return [...settled.findings, ...(await checkTargets(settled))];
    },
    async report(ctx) {
      return (await settle(ctx, plan)).report;
    },
    async before(ctx) {
      const { targets } = await settle(ctx, plan);
      const files: FileBefore[] = [];
      for (const { path } of targets) {
        const there = await look(path);
        const saved = there === null ? null : await keepBytes(stateFolder(ctx), there.bytes);
        files.push({
          file: named(ctx, path),
          saved,
          mode: there?.mode ?? 0,
          folders: await missingFolders(ctx, path),
        });
      }
      ctx.faults.at('config.before.saved');
      return { files: files.map((file) => ({ ...file })) };
    },
    async apply(ctx) {
      const settled = await settle(ctx, plan);
      refuse(settled.findings);
      for (const target of settled.targets) {
        const there = await look(target.path);
        if (there === null || !there.bytes.equals(target.after)) {
          await writeDurably(ctx, target.path, target.after, {
            isSecret: target.isSecret,
            after: 'config.file.renamed',
          });
        } else if (target.isSecret && isTooOpen(there.mode)) await restrict(target.path);
      }
    },
    async isApplied(ctx) {
      const { findings, targets } = await settle(ctx, plan);
      if (findings.some(({ level }) => level === 'error')) return false;
      return (await Promise.all(targets.map(isWritten))).every(Boolean);
    },
    async undo(ctx, before) {
      for (const file of (before as unknown as { readonly files: readonly FileBefore[] }).files)
        await undoFile(ctx, file);
    },
    async sourceHash(ctx) {
      const hash = createHash('sha256');
      for (const source of plan.definition.from) {
        const { bytes } = await source.load(ctx);
        hash.update(JSON.stringify([source.kind, source.name, bytes === null ? null : bytes.length]));
        if (bytes !== null) hash.update(bytes);
      }
      return hash.digest('hex');
    },
    invert: (tree) => invert(plan, tree),
  };
}

async function isWritten({ path, after, isSecret }: Target): Promise<boolean> {
  const there = await look(path);
  return there !== null && there.bytes.equals(after) && !(isSecret && isTooOpen(there.mode));
}

function stateFolder(ctx: Context): string {
  return join(ctx.stateDir, 'settings');
}

/** Relative to the plan's folder, so that the two can be moved together; a file elsewhere is named by its whole path. */
function named(ctx: Context, path: string): string {
  const inside = relative(ctx.root, path);
  return inside.startsWith('..') ? path : inside;
}

async function missingFolders(ctx: Context, path: string): Promise<string[]> {
  const missing: string[] = [];
  for (let folder = dirname(path); !(await exists(folder)); folder = dirname(folder)) missing.push(named(ctx, folder));
  return missing;
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function refuse(findings: readonly Finding[]): void {
  const errors = findings.filter(({ level }) => level === 'error');
  if (errors.length === 0) return;
  const shown = errors.slice(0, SHOWN_PROBLEMS).map(({ message }) => `\n  ${message}`);
  const more = errors.length > SHOWN_PROBLEMS ? `\n  and ${errors.length - SHOWN_PROBLEMS} more` : '';
  throw new ChangeoverError('CHG_CONFIG_INVALID', { count: errors.length, problems: shown.join('') + more });
}

async function checkTargets({ targets }: Settled): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { file, path, isSecret } of targets) {
    const about = file.file;
    let folder = dirname(path);
    while (!(await exists(folder))) folder = dirname(folder);
    try {
      await access(folder, constants.W_OK);
    } catch {
      const message = `${about}: its folder ${folder} is not writable`;
      findings.push({ level: 'error', about, message, remedy: 'Run as a user who may write there.' });
    }
    const there = await look(path);
    if (isSecret && there !== null && isTooOpen(there.mode)) {
      const message = `${about}: others may read it (mode ${there.mode.toString(8)}); it will have mode 600`;
      findings.push({ level: 'info', about, message });
    }
  }
  return findings;
}

/** What a person changed in the meantime is not thrown away: it is kept beside the former bytes. */
async function undoFile(ctx: Context, { file, saved, mode, folders }: FileBefore): Promise<void> {
  const path = resolve(ctx.root, file);
  await removeLeftover(path);
  const there = await look(path);
  const former = saved === null ? null : await savedBytes(ctx, file, saved);
  const isAsBefore = there === null ? former === null : former?.equals(there.bytes) === true && there.mode === mode;
  if (there !== null && !isAsBefore) {
    const kept = await keepBytes(stateFolder(ctx), there.bytes);
    ctx.report.log(`${file} is put back; as it was until now it is kept in ${join(stateFolder(ctx), kept)}`);
  }
  if (former === null) {
    await removeDurably(path);
    await removeEmptyFolders(folders.map((folder) => resolve(ctx.root, folder)));
    ctx.faults.at('config.undo.restored');
  } else if (!isAsBefore)
    await writeDurably(ctx, path, former, { isSecret: false, mode, after: 'config.undo.restored' });
}

async function savedBytes(ctx: Context, file: string, saved: string): Promise<Buffer> {
  const path = join(stateFolder(ctx), saved);
  const there = await look(path);
  const lost = (reason: string): ChangeoverError =>
    new ChangeoverError('CHG_CONFIG_UNDO_LOST', { file, saved: path, reason });
  if (there === null) throw lost('it is missing');
  if (createHash('sha256').update(there.bytes).digest('hex') !== saved) throw lost('it has another hash');
  return there.bytes;
}

/** What the plan's hash is made of. Secrets are not in it. */
function specOfPlan({ definition, rules, constants }: Plan): Json {
  const map = rules.map(({ key, rule, ...planned }) => {
    const isHidden = isSecret(key, rule.secret);
    const fallback =
      planned.kind === 'move' && planned.fallback !== undefined ? { default: isHidden ? MASK : planned.fallback } : {};
    const to = planned.kind === 'move' ? { to: planned.to.map(formatPath) } : {};
    return [key, { ...rule, ...to, ...fallback }] as const;
  });
  const set = constants.map(({ path, constant }) => {
    const name = formatPath(path);
    return [name, { ...constant, value: isSecret(name, constant.secret) ? MASK : constant.value }] as const;
  });
  return specOf({
    from: definition.from.map(({ spec }) => spec),
    to: definition.to.spec,
    secrets: definition.secrets?.spec ?? null,
    map: Object.fromEntries(map),
    set: Object.fromEntries(set),
    schema: specOfSchema(definition.schema),
  });
}
