import type { Context } from '../../plan/context.ts';
import { sourceSide, type Direction, type Verdict } from '../../plan/words.ts';
import { readFile } from './file-copy.ts';
import type { FileState } from './file-state.ts';
import { shown, type Folder, type RawPath } from './folder.ts';

const FILES_AT_ONCE = 4;
/** A file that differs so often though nothing is pending differs for good. */
const CERTAIN_AFTER = 3;
const MAX_ROUNDS = 40;
const ROUND_MS = 50;
const NAMED_FILES = 5;

interface Difference {
  readonly path: RawPath;
  readonly kind: 'missing' | 'extra' | 'different' | 'changing';
  /** Of the source; null where it has no such file. */
  readonly sha256: string | null;
}

/** Compares two folders file by file, reading both sides: what is known from earlier reads does not count as evidence. */
export class FileVerification {
  readonly #ctx: Context;
  readonly #direction: Direction;
  readonly #source: Folder;
  readonly #target: Folder;
  readonly #state: FileState;
  /** Applies what is pending; does nothing where this process may not write. */
  readonly #catchUp: () => Promise<unknown>;

  constructor(
    ctx: Context,
    direction: Direction,
    parts: { readonly source: Folder; readonly target: Folder; readonly state: FileState },
    catchUp: () => Promise<unknown>,
  ) {
    this.#ctx = ctx;
    this.#direction = direction;
    this.#source = parts.source;
    this.#target = parts.target;
    this.#state = parts.state;
    this.#catchUp = catchUp;
  }

  async run(name: string, scope: 'full' | 'changed'): Promise<Verdict[]> {
    const sources = new Set(await this.#source.paths(this.#ctx.signal));
    const targets = new Set(await this.#target.paths(this.#ctx.signal));
    const all = new Set([...sources, ...targets]);
    const synced = this.#state.synced();
    const isOpen = (path: RawPath): boolean =>
      scope === 'full' || synced.get(path)?.isVerified !== true || !sources.has(path) || !targets.has(path);
    const wanted = [...all].filter(isOpen);
    const first = await this.#compare(wanted);
    const { certain, changing } = await this.#settle(first);
    const differing = new Set([...certain, ...changing].map(({ path }) => path));
    if (this.#ctx.epoch > 0) this.#state.setVerified(wanted.filter((path) => synced.has(path) && !differing.has(path)));
    const compared =
      scope === 'full'
        ? `${wanted.length} files compared by SHA-256 on both sides`
        : `${wanted.length} changed since they were compared, ${all.size} files in all`;
    const verdict = (outcome: Verdict['outcome'], found: string): Verdict[] => [
      { check: `${name}: files equal`, outcome, evidence: `${compared}, ${found}`, measured: all.size },
    ];
    if (certain.length > 0) return verdict('FAIL', `${certain.length} differ: ${described(certain)}`);
    if (changing.length > 0) {
      const found = verdict('INCONCLUSIVE', `${changing.length} still changing: ${described(changing)}`);
      return found.map((one) => ({ ...one, changing: changing.length }));
    }
    return verdict('PASS', '0 differ');
  }

  /** Looks at differing files again until they are equal, or differ though their change was applied. */
  async #settle(first: readonly Difference[]): Promise<{ certain: Difference[]; changing: Difference[] }> {
    let open = first;
    const seen = new Map<RawPath, number>();
    for (let round = 0; open.length > 0 && round < MAX_ROUNDS; round += 1) {
      await this.#ctx.clock.sleep(ROUND_MS, this.#ctx.signal);
      await this.#catchUp();
      open = await this.#compare(open.map(({ path }) => path));
      const synced = this.#state.synced();
      for (const { path, kind, sha256 } of open) {
        const isPending = kind === 'changing' || (synced.get(path)?.sha256 ?? null) !== sha256;
        seen.set(path, isPending ? 0 : (seen.get(path) ?? 0) + 1);
      }
      const certain = open.filter(({ path }) => (seen.get(path) ?? 0) >= CERTAIN_AFTER);
      if (certain.length > 0) return { certain, changing: [] };
    }
    return { certain: [], changing: [...open] };
  }

  async #compare(paths: readonly RawPath[]): Promise<Difference[]> {
    const differences: Difference[] = [];
    const queue = [...paths];
    let done = 0;
    const lane = async (): Promise<void> => {
      for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
        this.#ctx.signal.throwIfAborted();
        const source = await readFile(this.#source.at(path), this.#ctx.clock);
        const target = await readFile(this.#target.at(path), this.#ctx.clock);
        done += 1;
        const what = `verify ${sourceSide(this.#direction)}`;
        if (done % 100 === 0) this.#ctx.report.progress({ what, done, total: paths.length, unit: 'files' });
        if (source === 'gone' && target === 'gone') continue;
        if (source === 'torn' || target === 'torn') differences.push({ path, kind: 'changing', sha256: null });
        else if (source === 'gone') differences.push({ path, kind: 'extra', sha256: null });
        else if (target === 'gone') differences.push({ path, kind: 'missing', sha256: source.sha256 });
        else if (source.sha256 !== target.sha256) differences.push({ path, kind: 'different', sha256: source.sha256 });
      }
    };
    await Promise.all(Array.from({ length: FILES_AT_ONCE }, lane));
    return differences;
  }
}

function described(differences: readonly Difference[]): string {
  const named = differences.slice(0, NAMED_FILES).map(({ path, kind }) => `${shown(path)} is ${kind}`);
  const more = differences.length > NAMED_FILES ? ` and ${differences.length - NAMED_FILES} more` : '';
  return named.join(', ') + more;
}
