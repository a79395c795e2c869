export const CLOCK_AND_POLICY_TABLES = `
-- The one anchor of the fleet clock, renewed every second by a running manager.
CREATE TABLE fleet_clock (
  id smallint PRIMARY KEY CHECK (id = 1),
  anchor_fleet_ms bigint NOT NULL,
  wall_ms bigint NOT NULL,
  boot_id text NOT NULL,
  boot_ms bigint NOT NULL,
  restore_epoch uuid NOT NULL
);

-- From fleet_ms on, wall time = fleet instant + offset_ms (how fleet instants are displayed).
CREATE TABLE clock_offsets (
  fleet_ms bigint PRIMARY KEY,
  offset_ms bigint NOT NULL
);

-- Proof of listening: every report received by listened_until_fleet_ms is committed.
CREATE TABLE listeners (
  node text PRIMARY KEY,
  generation bigint NOT NULL,
  started_fleet_ms bigint NOT NULL,
  listened_until_fleet_ms bigint NOT NULL
);

CREATE TABLE deaf_spans (
  listener text NOT NULL,
  from_fleet_ms bigint NOT NULL,
  until_fleet_ms bigint NOT NULL,
  cause text NOT NULL,
  PRIMARY KEY (listener, from_fleet_ms),
  CHECK (until_fleet_ms > from_fleet_ms)
);
CREATE INDEX deaf_spans_until ON deaf_spans (until_fleet_ms);

CREATE TABLE verdict_shards (
  shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 63),
  owner text,
  generation bigint NOT NULL DEFAULT 0,
  lease_until_fleet_ms bigint NOT NULL DEFAULT 0
);
INSERT INTO verdict_shards (shard) SELECT generate_series(0, 63);

CREATE TABLE jobs (
  name text PRIMARY KEY,
  owner text,
  generation bigint NOT NULL DEFAULT 0,
  lease_until_fleet_ms bigint NOT NULL DEFAULT 0
);

-- Locked and incremented by every edit of the forest; (epoch, counter) is the settings generation.
CREATE TABLE policy_forest (
  id smallint PRIMARY KEY CHECK (id = 1),
  epoch uuid NOT NULL,
  counter bigint NOT NULL
);

CREATE TABLE policies (
  id uuid PRIMARY KEY,
  parent_id uuid REFERENCES policies (id),
  name text NOT NULL,
  description text NOT NULL,
  settings jsonb NOT NULL,
  locks jsonb NOT NULL,
  built_in boolean NOT NULL DEFAULT false,
  revision integer NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  -- The last edit that changed what verdicts are judged by, here or above.
  verdict_rules_fleet_ms bigint NOT NULL,
  CONSTRAINT policies_name_per_parent UNIQUE NULLS NOT DISTINCT (parent_id, name)
);

CREATE TABLE policy_revisions (
  policy_id uuid NOT NULL,
  revision integer NOT NULL,
  changed_at timestamptz NOT NULL,
  changed_fleet_ms bigint NOT NULL,
  actor_id text NOT NULL,
  actor_name text NOT NULL,
  comment text NOT NULL,
  name text NOT NULL,
  parent_id uuid,
  settings jsonb NOT NULL,
  locks jsonb NOT NULL,
  PRIMARY KEY (policy_id, revision)
);
`;
