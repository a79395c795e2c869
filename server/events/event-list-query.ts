import { toRfc3339 } from '../../lib/clock.js';
import type { Scope } from '../access/scope.js';
import {
  containing,
  keysetOf,
  mapPage,
  pageOf,
  parsePage,
  type ListOrder,
  type Page,
  type PageRequest,
} from '../admin-api/page.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { EventDto, EventsQuery } from './event-dto.js';

export const EVENT_ORDER: ListOrder = {
  list: 'events',
  keys: { receivedAt: { column: 'events.received_fleet_ms', type: 'integer' } },
  default: '-receivedAt',
  id: 'events.id',
};

export const COMPUTER_EVENT_ORDER: ListOrder = { ...EVENT_ORDER, list: 'computers/events' };

export interface EventList {
  /** Events of agents and of the manager; of one computer when its id is given. Newest first unless asked otherwise. */
  list(scope: Scope, query: EventsQuery, computerId?: string): Promise<Page<EventDto>>;
}

interface EventRow {
  readonly id: string;
  readonly computer_id: string | null;
  readonly lane: string;
  readonly epoch: string;
  readonly sequence: number;
  readonly occurred_ms: number;
  readonly received_fleet_ms: number;
  readonly kind: string;
  readonly code: number | null;
  readonly severity: string;
  readonly message: string;
  readonly data: unknown;
}

export function createEventList({ sql, clock }: { readonly sql: Sql; readonly clock: FleetClock }): EventList {
  return {
    async list(scope, query, computerId) {
      const page = parsePage(query, computerId === undefined ? EVENT_ORDER : COMPUTER_EVENT_ORDER);
      const { text, parameters } = statementOf({ scope, query, page, computerId });
      const rows = await sql.query<EventRow>(text, parameters);
      return mapPage(
        pageOf(rows, page, (row) => [row.received_fleet_ms, row.id]),
        (row) => toEventDto(row, clock),
      );
    },
  };
}

interface EventQuestion {
  readonly scope: Scope;
  readonly query: EventsQuery;
  readonly page: PageRequest;
  readonly computerId: string | undefined;
}

/** What belongs to no computer, and what is left of removed ones, only the whole forest shows. */
function statementOf({ scope, query, page, computerId }: EventQuestion): { text: string; parameters: unknown[] } {
  const { lane, kind, severity, code, q } = query;
  const filters: readonly (readonly [condition: string, value: unknown])[] = [
    ['events.computer_id = $::uuid', computerId],
    ['events.lane = $', lane],
    ['events.kind = $', kind],
    ['events.severity = $', severity],
    ['events.code = $::integer', code],
    [`events.message ILIKE $ ESCAPE '\\'`, q === undefined ? undefined : containing(q)],
  ];
  const asked = filters.filter(([, value]) => value !== undefined);
  const conditions = asked.map(([condition], index) => condition.replace('$', () => `$${index + 1}`));
  const visible = scope.predicate('computers.policy_id', asked.length + 1);
  const keyset = keysetOf(page, asked.length + visible.parameters.length + 1);
  const values = [...asked.map(([, value]) => value), ...visible.parameters, ...keyset.parameters];
  const text = `SELECT events.id, events.computer_id, events.lane, events.epoch, events.sequence, events.occurred_ms,
      events.received_fleet_ms, events.kind, events.code, events.severity, events.message, events.data
    FROM events LEFT JOIN computers ON computers.id = events.computer_id
    WHERE ${[...conditions, visible.sql, keyset.condition].join(' AND ')}
    ORDER BY ${keyset.orderBy} LIMIT $${values.length + 1}`;
  return { text, parameters: [...values, page.limit + 1] };
}

function toEventDto(row: EventRow, clock: FleetClock): EventDto {
  return {
    id: row.id,
    computerId: row.computer_id,
    lane: row.lane,
    epoch: row.epoch,
    sequence: row.sequence,
    occurredAt: toRfc3339(row.occurred_ms),
    receivedAt: toRfc3339(clock.toWall(row.received_fleet_ms)),
    kind: row.kind,
    code: row.code,
    severity: row.severity,
    message: row.message,
    data: row.data ?? null,
  };
}
