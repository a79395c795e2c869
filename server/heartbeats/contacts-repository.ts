import type { Sql } from '../database/sql.js';
import type { Exchange } from './exchange.js';

/** How a computer can be reached and what it is changing over to, by its own word. */
export interface ContactsRepository {
  /** Stores what the reports tell, one of each computer; `since` moves only where direction or candidate changed, or an isolation began or ended. */
  store(sql: Sql, exchanges: readonly Exchange[]): Promise<void>;
  /** Those whose address was changed since they told that they reverted the candidate of their report. */
  findReaddressed(sql: Sql, exchanges: readonly Exchange[]): Promise<ReadonlySet<string>>;
}

const TOLD = [
  ['direction', 'text'],
  ['listener_state', 'text'],
  ['listener_port', 'integer'],
  ['listener_detail', 'text'],
  ['candidate_fingerprint', 'bytea'],
  ['candidate_direction', 'text'],
  ['candidate_state', 'text'],
  ['candidate_port', 'integer'],
  ['candidate_reason', 'text'],
  ['candidate_detail', 'text'],
  ['collection', 'text'],
  ['firewall_state', 'text'],
  ['firewall_digest', 'bytea'],
  ['firewall_detail', 'text'],
  ['isolated_by', 'uuid'],
] as const;
const NAMES = TOLD.map(([name]) => name);
const CANDIDATE = ['candidate_fingerprint', 'candidate_direction', 'candidate_state'] as const;

const differs = (names: readonly string[]): string =>
  `(${names.map((name) => `computer_contacts.${name}`).join(', ')}) IS DISTINCT FROM
    (${names.map((name) => `EXCLUDED.${name}`).join(', ')})`;

/** Whether it is isolated at all: a further command to isolate one that is cuts it off no later. */
const BEGINS_OR_ENDS = '(computer_contacts.isolated_by IS NULL) <> (EXCLUDED.isolated_by IS NULL)';

const since = (column: string, isOther: string): string =>
  `${column} = CASE WHEN ${isOther} THEN EXCLUDED.${column} ELSE computer_contacts.${column} END`;

const STORE = `
INSERT INTO computer_contacts (computer_id, ${NAMES.join(', ')},
  direction_since_fleet_ms, candidate_since_fleet_ms, isolated_since_fleet_ms)
SELECT input.computer_id, ${NAMES.map((name) => `input.${name}`).join(', ')},
  CASE WHEN input.direction IS NOT NULL THEN input.at END,
  CASE WHEN input.candidate_fingerprint IS NOT NULL THEN input.at END,
  CASE WHEN input.isolated_by IS NOT NULL THEN input.at END
FROM unnest($1::uuid[], $2::bigint[], ${TOLD.map(([, type], index) => `$${index + 3}::${type}[]`).join(', ')})
  AS input (computer_id, at, ${NAMES.join(', ')})
ORDER BY input.computer_id
ON CONFLICT (computer_id) DO UPDATE SET ${NAMES.map((name) => `${name} = EXCLUDED.${name}`).join(', ')},
  ${since('direction_since_fleet_ms', differs(['direction']))},
  ${since('candidate_since_fleet_ms', differs(CANDIDATE))},
  ${since('isolated_since_fleet_ms', BEGINS_OR_ENDS)}
WHERE ${differs(NAMES)}`;

const FIND_READDRESSED = `
SELECT computer_contacts.computer_id FROM unnest($1::uuid[], $2::bytea[]) AS input (computer_id, fingerprint)
JOIN computer_contacts ON computer_contacts.computer_id = input.computer_id
  AND computer_contacts.candidate_fingerprint = input.fingerprint AND computer_contacts.candidate_state = 'reverted'
WHERE EXISTS (
  SELECT FROM computer_revisions AS later
  JOIN computer_revisions AS former ON former.computer_id = later.computer_id AND former.revision = later.revision - 1
  WHERE later.computer_id = computer_contacts.computer_id
    AND later.changed_fleet_ms > computer_contacts.candidate_since_fleet_ms
    AND later.address IS DISTINCT FROM former.address)`;

export function createContactsRepository(): ContactsRepository {
  return {
    async store(sql, exchanges) {
      if (exchanges.length === 0) return;
      const rows = exchanges.map(toldBy);
      await sql.query(STORE, [
        exchanges.map(({ identity }) => identity.computerId),
        exchanges.map(({ receivedAt }) => Math.floor(receivedAt)),
        ...NAMES.map((_, index) => rows.map((row) => row[index])),
      ]);
    },
    async findReaddressed(sql, exchanges) {
      const reverted = exchanges.flatMap(({ identity, report: { candidate } }) =>
        candidate?.state === 'reverted' ? [{ id: identity.computerId, fingerprint: candidate.fingerprint }] : [],
      );
      if (reverted.length === 0) return new Set();
      const rows = await sql.query<{ computer_id: string }>(FIND_READDRESSED, [
        reverted.map(({ id }) => id),
        reverted.map(({ fingerprint }) => Buffer.from(fingerprint, 'hex')),
      ]);
      return new Set(rows.map(({ computer_id: id }) => id));
    },
  };
}

/** In the order of `TOLD`. */
function toldBy({ report }: Exchange): readonly unknown[] {
  const { direction, listener, candidate, collection, firewall } = report;
  return [
    direction ?? null,
    ...listenerOf(listener),
    ...candidateOf(candidate),
    collection ?? null,
    ...firewallOf(firewall),
  ];
}

function firewallOf(firewall: Exchange['report']['firewall']): readonly unknown[] {
  if (!firewall) return [null, null, null, null];
  const { state, digest, detail = null, isolatedBy = null } = firewall;
  return [state, digest === undefined ? null : Buffer.from(digest, 'hex'), detail, isolatedBy];
}

function listenerOf(listener: Exchange['report']['listener']): readonly unknown[] {
  if (!listener) return [null, null, null];
  const { state, port = null, detail = null } = listener;
  return [state, port, detail];
}

function candidateOf(candidate: Exchange['report']['candidate']): readonly unknown[] {
  if (!candidate) return [null, null, null, null, null, null];
  const { fingerprint, direction, state, port = null, reason = null, detail = null } = candidate;
  return [Buffer.from(fingerprint, 'hex'), direction, state, port, reason, detail];
}
