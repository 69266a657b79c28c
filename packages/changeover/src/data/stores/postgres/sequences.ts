import type { PostgresConnection } from './connection.ts';
import type { PostgresShape } from './shape.ts';
import { quoted } from './text.ts';

/**
 * Sets every sequence behind a column of these tables past the column's highest value: owned ones, identities, and those that a default
 * names. A sequence is never set back, and keys outside of its range are none of its own.
 *
 * @param atLeast The next key of a table, where that is to be further than its rows.
 */
export async function setSequences(
  connection: PostgresConnection,
  shapes: readonly PostgresShape[],
  atLeast: ReadonlyMap<string, bigint>,
): Promise<void> {
  const settings: { sql: string; sequence: string }[] = [];
  for (const { oid, qualified, name, key } of shapes) {
    const found = await connection.main.query(
      `SELECT DISTINCT a.attname, quote_ident(n.nspname) || '.' || quote_ident(s.relname), q.seqincrement > 0,
              q.seqmin, q.seqmax
       FROM pg_attribute a
       LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
       JOIN pg_depend p ON
         (p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass)
         OR (p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass AND p.refobjid = a.attrelid
             AND p.refobjsubid = a.attnum AND p.deptype IN ('a', 'i'))
       JOIN pg_class s ON s.relkind = 'S' AND s.oid = CASE WHEN p.classid = 'pg_attrdef'::regclass THEN p.refobjid ELSE p.objid END
       JOIN pg_namespace n ON n.oid = s.relnamespace
       JOIN pg_sequence q ON q.seqrelid = s.oid
       WHERE a.attrelid = $1 AND a.attnum > 0`,
      [oid],
    );
    for (const [column, sequence, isRising, lowest, highest] of found) {
      const extreme = isRising === 't' ? 'greatest' : 'least';
      const edge = isRising === 't' ? 'max' : 'min';
      const last = `(SELECT CASE WHEN is_called THEN last_value END FROM ${sequence})`;
      const isKey = isRising === 't' && key.length === 1 && key[0] === column;
      const given = isKey ? (atLeast.get(name) ?? 1n) - 1n || null : null;
      const sql = `
        SELECT setval($1::regclass, highest) FROM (
          SELECT ${extreme}((SELECT ${edge}(${quoted(column ?? '')}) FROM ${qualified}), ${last}, ${given ?? 'NULL'}) AS highest) AS s
        WHERE highest BETWEEN ${lowest ?? ''} AND ${highest ?? ''}`;
      settings.push({ sql, sequence: sequence ?? '' });
    }
  }
  await connection.write(connection.epoch, async (session) => {
    for (const { sql, sequence } of settings) await session.query(sql, [sequence]);
  });
}
