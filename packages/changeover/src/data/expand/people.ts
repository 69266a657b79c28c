import type { TableExpansion } from '../../plan/expand.ts';

/** What the tests under load expand. `up` and `down` are each other's inverse for the names that the writers give. */
export const peopleSql = (rows: number) => `
  CREATE TABLE people (id int PRIMARY KEY, first text NOT NULL, last varchar(40) NOT NULL, version int NOT NULL DEFAULT 0);
  INSERT INTO people SELECT i, 'f' || i, 'l' || i FROM generate_series(1, ${rows}) AS i;`;

export const PEOPLE: TableExpansion = {
  add: {
    full_name: {
      type: 'text',
      up: "first || ' ' || last",
      down: { first: "split_part(full_name, ' ', 1)", last: "substr(full_name, strpos(full_name || ' ', ' ') + 1)" },
      notNull: true,
    },
  },
  drop: ['first', 'last'],
  indexes: { people_by_full_name: { on: '(full_name)' }, people_by_version: { on: '(version)' } },
  constraints: { people_named: "CHECK (full_name <> ' ')" },
};
