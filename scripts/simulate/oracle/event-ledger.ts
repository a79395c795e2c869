import type pg from 'pg';
import type { Orders } from '../../../protocol/heartbeat-messages.js';
import type { AcceptedEvent } from '../simulated-agent.js';
import type { Violations } from './violations.js';

const STORED_UP_TO = `SELECT count(*)::int AS rows, count(DISTINCT sequence)::int AS distinct FROM events
  WHERE computer_id = $1 AND lane = $2 AND epoch = $3 AND sequence <= $4`;

const DOUBLED = `SELECT computer_id, lane, epoch, sequence FROM events WHERE computer_id IS NOT NULL
  GROUP BY computer_id, lane, epoch, sequence HAVING count(*) > 1`;

const ALL = `SELECT DISTINCT computer_id || ' ' || lane || ' ' || epoch || ' ' || sequence AS key FROM events
  WHERE computer_id IS NOT NULL`;

/** Holds the manager to "acknowledged means stored": a spool numbers its events from 0 without gaps. */
export class EventLedger {
  readonly #observer: pg.Client;
  readonly #violations: Violations;
  readonly #accepted: AcceptedEvent[] = [];
  readonly #checked = new Map<string, number>();

  constructor(observer: pg.Client, violations: Violations) {
    this.#observer = observer;
    this.#violations = violations;
  }

  get count(): number {
    return this.#accepted.length;
  }

  accept(event: AcceptedEvent): void {
    this.#accepted.push(event);
  }

  async acknowledged(computerId: string, orders: Orders): Promise<void> {
    for (const { lane, epoch, position } of orders.acknowledged) {
      const key = `${computerId} ${lane} ${epoch}`;
      if (position < 0 || (this.#checked.get(key) ?? -1) >= position) continue;
      this.#checked.set(key, position);
      const { rows } = await this.#observer.query(STORED_UP_TO, [computerId, lane, epoch, position]);
      const { rows: count, distinct } = rows[0] as { rows: number; distinct: number };
      if (count !== position + 1 || distinct !== count)
        this.#violations.add('other', `${key}: ${position} is acknowledged, ${distinct} of ${count} rows are stored`);
    }
  }

  /** At the end, when every spool should be empty; `isDrained` tells whose is. */
  async close(isDrained: (computerId: string) => boolean): Promise<void> {
    const doubled = await this.#observer.query(DOUBLED);
    for (const row of doubled.rows) this.#violations.add('other', `stored twice: ${JSON.stringify(row)}`);
    const stored = new Set((await this.#observer.query(ALL)).rows.map(({ key }: { key: string }) => key));
    for (const { computerId, lane, epoch, sequence } of this.#accepted) {
      const key = `${computerId} ${lane} ${epoch} ${sequence}`;
      if (stored.has(key)) continue;
      this.#violations.add('other', `${isDrained(computerId) ? 'lost' : 'still in its spool'}: ${key}`);
    }
  }
}
