/** Partitioned by time from the first day; a default partition catches what no daily one takes. */
export const EVENT_TABLES = `
CREATE TABLE events (
  id uuid NOT NULL,
  partition_at timestamptz NOT NULL,
  computer_id uuid,
  lane text NOT NULL,
  epoch text NOT NULL,
  sequence bigint NOT NULL,
  occurred_ms bigint NOT NULL,
  received_fleet_ms bigint NOT NULL,
  kind text NOT NULL,
  code integer,
  severity text NOT NULL,
  message text NOT NULL,
  data jsonb,
  transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
  PRIMARY KEY (partition_at, id)
) PARTITION BY RANGE (partition_at);
CREATE TABLE events_default PARTITION OF events DEFAULT;
CREATE INDEX events_computer ON events (computer_id, received_fleet_ms, id);
CREATE INDEX events_received ON events (received_fleet_ms, id);

CREATE TABLE status_history (
  id uuid NOT NULL,
  partition_at timestamptz NOT NULL,
  computer_id uuid NOT NULL,
  status text NOT NULL,
  previous_status text NOT NULL,
  reason text NOT NULL,
  since_fleet_ms bigint NOT NULL,
  noticed_fleet_ms bigint NOT NULL,
  PRIMARY KEY (partition_at, id)
) PARTITION BY RANGE (partition_at);
CREATE TABLE status_history_default PARTITION OF status_history DEFAULT;
CREATE INDEX status_history_computer ON status_history (computer_id, since_fleet_ms, id);

CREATE TABLE heartbeat_gaps (
  id uuid NOT NULL,
  partition_at timestamptz NOT NULL,
  computer_id uuid NOT NULL,
  from_fleet_ms bigint NOT NULL,
  until_fleet_ms bigint NOT NULL,
  interval_ms integer NOT NULL,
  deaf_ms bigint NOT NULL,
  PRIMARY KEY (partition_at, id)
) PARTITION BY RANGE (partition_at);
CREATE TABLE heartbeat_gaps_default PARTITION OF heartbeat_gaps DEFAULT;
CREATE INDEX heartbeat_gaps_computer ON heartbeat_gaps (computer_id, from_fleet_ms, id);
`;
