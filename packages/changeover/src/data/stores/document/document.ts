import path from 'node:path';
import type { Context } from '../../../plan/context.ts';
import { specOf } from '../../../plan/spec.ts';
import type { Row, Store } from '../../../plan/stores.ts';
import type { DocumentFormat } from './format.ts';
import { OpenDocument } from './open-document.ts';
import type { Options } from './reader.ts';

export interface DocumentTable<Contents> {
  /** Key columns in order; two rows must not have the same key. */
  readonly key: readonly string[];
  /**
   * The key column that is a row's place in a list, from 0 without gaps; the other key columns say which list. Rows that come back may have
   * any places in the right order: they are numbered again. Default: no column is a place.
   */
  readonly order?: string;
  /** The table only shows what another table of the same files holds too, and changes with it. Default false. */
  readonly derived?: true;
  /** Columns with their types, for the plan's checks. Default: those of the rows that are there. */
  readonly columns?: Readonly<Record<string, string>>;
  /** The rows in the contents of all files, where a missing file is null. Must give equal rows for equal contents. */
  readonly rows: (contents: Contents) => readonly Row[];
}

export interface DocumentOptions<File extends string, Table extends string, Contents, Input> {
  /** Name → path, relative to the plan's folder. */
  readonly files: Readonly<Record<File, string>>;
  readonly format: DocumentFormat<Contents, Input>;
  readonly tables: Readonly<Record<Table, DocumentTable<Readonly<Record<File, NoInfer<Contents> | null>>>>>;
  /**
   * The way back: the contents of all files from their rows, in the order in which the rows came; null for a file that is not to exist. What
   * `rows` makes of the result must be the same rows again; if it is not, nothing is written.
   */
  readonly render?: (
    tables: Readonly<Record<Table, readonly Row[]>>,
    before: Readonly<Record<File, NoInfer<Contents> | null>>,
  ) => Readonly<Record<File, NoInfer<Input | Contents> | null>>;
}

/**
 * Small files that are read and replaced as a whole, as a store. They are replaced only when their rows change, by a temporary file and
 * a rename with mode and owner kept, so that no reader ever sees a half-written one.
 *
 * @example
 * document({
 *   files: { known: 'data/known_faces_cache.pkl' },
 *   format: pickleFormat({ protocol: 4 }),
 *   tables: { faces: { key: ['position'], rows: ({ known }) => names(known).map((name, position) => ({ position, name })) } },
 *   render: ({ faces }) => ({ known: { names: faces.map(({ name }) => name) } }),
 * })
 */
export function document<File extends string, Table extends string, Contents, Input>(
  options: DocumentOptions<File, Table, Contents, Input>,
): Store {
  const { files, format, tables, render } = options;
  const names: readonly string[] = Object.values(files);
  const at = ({ root }: Pick<Context, 'root'>) => names.map((name) => path.resolve(root, name));
  // What was read by the plan's format is given to the plan's functions alone; in between its type does not matter.
  const opened = options as unknown as Options;
  const identity = (ctx: Pick<Context, 'root'>) => `document:${at(ctx).sort().join(':')}`;
  return {
    kind: 'document',
    writes: 'whole',
    fencedBy: 'unit',
    spec: specOf({ kind: 'document', files, format: format.name, tables, render }),
    identity,
    open: (ctx) => Promise.resolve(new OpenDocument(opened, identity(ctx), ctx)),
  };
}
