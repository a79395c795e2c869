/**
 * The narrowest way to the database: one parameterised statement inside whatever transaction the holder is in.
 * The hot path makes it from a `pg` client, services from an EntityManager, so that one writer serves both.
 */
export interface Sql {
  query<Row extends object>(text: string, parameters?: readonly unknown[]): Promise<Row[]>;
}

interface QueriesLikePg {
  query(text: string, parameters?: unknown[]): Promise<{ rows: unknown[] }>;
}

interface QueriesLikeTypeorm {
  query(text: string, parameters?: unknown[]): Promise<unknown>;
}

export function sqlOfClient(client: QueriesLikePg): Sql {
  return {
    async query<Row extends object>(text: string, parameters: readonly unknown[] = []) {
      const { rows } = await client.query(text, [...parameters]);
      return rows as Row[];
    },
  };
}

/**
 * The same from TypeORM's EntityManager, which answers `[rows, count]` for UPDATE and DELETE and rows otherwise.
 */
export function sqlOfManager(manager: QueriesLikeTypeorm): Sql {
  return {
    async query<Row extends object>(text: string, parameters: readonly unknown[] = []) {
      const answer = (await manager.query(text, [...parameters])) as Row[] | [Row[], number];
      return isRowsWithCount(answer) ? answer[0] : answer;
    },
  };
}

function isRowsWithCount<Row>(answer: Row[] | [Row[], number]): answer is [Row[], number] {
  return answer.length === 2 && Array.isArray(answer[0]) && typeof answer[1] === 'number';
}
