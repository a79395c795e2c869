export const COMPUTER_TABLES = `
CREATE TABLE computers (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('agent', 'appliance')),
  address text,
  policy_id uuid NOT NULL REFERENCES policies (id),
  labels jsonb NOT NULL,
  overrides jsonb,
  revision integer NOT NULL,
  power_state text NOT NULL DEFAULT 'unknown' CHECK (power_state IN ('running', 'stopped', 'unknown')),
  power_source text,
  power_since_fleet_ms bigint,
  power_expires_fleet_ms bigint,
  verdict_rules_fleet_ms bigint NOT NULL,
  created_fleet_ms bigint NOT NULL,
  enrolled_fleet_ms bigint
);
CREATE INDEX computers_name ON computers (name, id);
CREATE INDEX computers_policy ON computers (policy_id, id);
CREATE INDEX computers_enrolled ON computers (enrolled_fleet_ms, id);
CREATE INDEX computers_labels ON computers USING gin (labels jsonb_path_ops);

CREATE TABLE computer_revisions (
  computer_id uuid NOT NULL,
  revision integer NOT NULL,
  changed_at timestamptz NOT NULL,
  changed_fleet_ms bigint NOT NULL,
  actor_id text NOT NULL,
  actor_name text NOT NULL,
  comment text NOT NULL,
  name text NOT NULL,
  policy_id uuid NOT NULL,
  labels jsonb NOT NULL,
  address text,
  overrides jsonb,
  PRIMARY KEY (computer_id, revision)
);

-- The hot table: one narrow row per computer, rewritten in place (HOT) by every stored report.
CREATE TABLE computer_live (
  computer_id uuid PRIMARY KEY,
  last_seen_fleet_ms bigint,
  contact_due_fleet_ms bigint,
  confirmed_interval_ms integer,
  delivered_interval_ms integer,
  delivered_fingerprint bytea,
  sequence bigint NOT NULL DEFAULT 0,
  report_id uuid,
  report_digest bytea,
  boot_id text,
  instance_id uuid,
  token_n bigint NOT NULL DEFAULT 0,
  applied_fingerprint bytea,
  pending_contacts smallint NOT NULL DEFAULT 0,
  state_digest bytea,
  answered_fleet_ms bigint,
  clock_offset_ms bigint,
  clock_error_ms bigint
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE computer_status (
  computer_id uuid PRIMARY KEY,
  status text NOT NULL CHECK (status IN ('pending', 'online', 'late', 'offline', 'stopped', 'revoked')),
  reason text NOT NULL,
  since_fleet_ms bigint NOT NULL,
  offline_fleet_ms bigint,
  flags text[] NOT NULL DEFAULT '{}',
  goodbye_reason text,
  goodbye_fleet_ms bigint,
  goodbye_expected_ms bigint
);
CREATE INDEX computer_status_status ON computer_status (status, computer_id);
CREATE INDEX computer_status_since ON computer_status (since_fleet_ms, computer_id);

CREATE TABLE computer_facts (
  computer_id uuid PRIMARY KEY,
  facts_digest bytea,
  facts jsonb NOT NULL,
  agent_version text NOT NULL,
  platform text NOT NULL,
  protocol_version integer NOT NULL,
  capabilities text[] NOT NULL,
  observed_address text,
  carrier text NOT NULL,
  tls_version text,
  tls_cipher text,
  last_transport_error jsonb,
  proxy_in_use text,
  updated_fleet_ms bigint NOT NULL
);

CREATE TABLE computer_components (
  computer_id uuid NOT NULL,
  kind text NOT NULL,
  name text NOT NULL,
  state text NOT NULL CHECK (state IN ('online', 'offline', 'unknown')),
  since_fleet_ms bigint NOT NULL,
  detail text,
  PRIMARY KEY (computer_id, kind, name)
);

-- The last 100 receipts and the newest counters; flushed in batches apart from the hot update.
CREATE TABLE heartbeat_rings (
  computer_id uuid PRIMARY KEY,
  ring bytea NOT NULL,
  counters jsonb,
  agent_time_ms bigint,
  updated_fleet_ms bigint NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE lateness_histograms (
  day date NOT NULL,
  policy_id uuid NOT NULL,
  buckets bigint[] NOT NULL,
  PRIMARY KEY (day, policy_id)
);

CREATE TABLE lane_positions (
  computer_id uuid NOT NULL,
  lane text NOT NULL,
  epoch text NOT NULL,
  position bigint NOT NULL,
  named_fleet_ms bigint NOT NULL,
  PRIMARY KEY (computer_id, lane, epoch)
);

CREATE TABLE alerts (
  id uuid PRIMARY KEY,
  type text NOT NULL,
  severity text NOT NULL,
  state text NOT NULL CHECK (state IN ('raised', 'acknowledged', 'resolved', 'dismissed')),
  subject text NOT NULL,
  computer_id uuid,
  raised_fleet_ms bigint NOT NULL,
  closed_fleet_ms bigint,
  closed_by text,
  acknowledged_fleet_ms bigint,
  acknowledged_by text,
  comment text,
  reason text NOT NULL,
  detail jsonb NOT NULL,
  occurrences integer NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX alerts_open ON alerts (type, subject) WHERE state IN ('raised', 'acknowledged');
CREATE INDEX alerts_raised ON alerts (raised_fleet_ms, id);
CREATE INDEX alerts_computer ON alerts (computer_id, raised_fleet_ms, id);
`;
