import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = `
-- Where notifications go. The settings hold no secret; the secrets are sealed under a key that the database never sees.
CREATE TABLE notification_channels (
  id uuid PRIMARY KEY,
  name text NOT NULL UNIQUE,
  type text NOT NULL CHECK (type IN ('email', 'webhook', 'slack', 'syslog')),
  settings jsonb NOT NULL,
  secrets bytea NOT NULL,
  revision bigint NOT NULL,
  created_at timestamptz NOT NULL,
  created_by text NOT NULL,
  updated_at timestamptz NOT NULL,
  -- How the last attempts over it went.
  delivered_fleet_ms bigint,
  failed_fleet_ms bigint,
  last_error text
);

-- Which alerts go to which channel.
CREATE TABLE notification_routes (
  id uuid PRIMARY KEY,
  name text NOT NULL UNIQUE,
  channel_id uuid NOT NULL REFERENCES notification_channels (id),
  min_severity text,
  types text[],
  -- With all policies below it; not a foreign key, for the feature answers for what it attaches to policies.
  policy_id uuid,
  label text,
  group_seconds integer NOT NULL,
  repeat_minutes integer,
  is_enabled boolean NOT NULL,
  revision bigint NOT NULL,
  created_at timestamptz NOT NULL,
  created_by text NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE INDEX notification_routes_channel ON notification_routes (channel_id);
CREATE INDEX notification_routes_policy ON notification_routes (policy_id) WHERE policy_id IS NOT NULL;

-- Which route was told that an alert began: it alone hears of the end, and is reminded until somebody acknowledges.
CREATE TABLE notification_told (
  route_id uuid NOT NULL,
  alert_id uuid NOT NULL,
  -- The next reminder; null when there is none.
  next_fleet_ms bigint,
  PRIMARY KEY (route_id, alert_id)
);
CREATE INDEX notification_told_alert ON notification_told (alert_id, route_id);
CREATE INDEX notification_told_next ON notification_told (next_fleet_ms, route_id, alert_id) WHERE next_fleet_ms IS NOT NULL;

-- One message to one channel: the outbox, and afterwards the log.
CREATE TABLE notification_deliveries (
  id uuid PRIMARY KEY,
  channel_id uuid NOT NULL,
  route_id uuid NOT NULL,
  kind text NOT NULL,
  state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'delivered', 'failed', 'dead')),
  -- Takes further alerts until the first attempt.
  is_collecting boolean NOT NULL DEFAULT true,
  alert_count integer NOT NULL DEFAULT 0,
  attempts integer NOT NULL DEFAULT 0,
  -- Failures since it was queued or resent.
  failures integer NOT NULL DEFAULT 0,
  -- It failed for the channel's sake, so another message's success is news for it.
  awaits_channel boolean NOT NULL DEFAULT false,
  created_fleet_ms bigint NOT NULL,
  due_fleet_ms bigint NOT NULL,
  -- When it is given up.
  expires_fleet_ms bigint NOT NULL,
  -- An attempt is under way; after this it counts as lost.
  claimed_until_fleet_ms bigint,
  ended_fleet_ms bigint,
  last_error text
);
CREATE UNIQUE INDEX notification_deliveries_collecting ON notification_deliveries (route_id, kind) WHERE is_collecting;
CREATE INDEX notification_deliveries_due ON notification_deliveries (due_fleet_ms, id) WHERE state IN ('queued', 'failed');
CREATE INDEX notification_deliveries_created ON notification_deliveries (created_fleet_ms, id);
CREATE INDEX notification_deliveries_channel ON notification_deliveries (channel_id, created_fleet_ms, id);

-- What a message tells of, as it was when it was decided to tell it.
CREATE TABLE notification_delivery_alerts (
  delivery_id uuid NOT NULL REFERENCES notification_deliveries (id) ON DELETE CASCADE,
  alert_id uuid NOT NULL,
  position integer NOT NULL,
  computer_id uuid,
  shown jsonb NOT NULL,
  PRIMARY KEY (delivery_id, alert_id)
);
CREATE INDEX notification_delivery_alerts_alert ON notification_delivery_alerts (alert_id, delivery_id);

CREATE TABLE notification_attempts (
  delivery_id uuid NOT NULL REFERENCES notification_deliveries (id) ON DELETE CASCADE,
  attempt integer NOT NULL,
  at_fleet_ms bigint NOT NULL,
  duration_ms integer NOT NULL,
  -- Null when it succeeded.
  error text,
  PRIMARY KEY (delivery_id, attempt)
);
`;

/** Channels, routes to them, and the outbox of messages with its log. */
export class Notifications0000000000019 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
DROP TABLE notification_attempts, notification_delivery_alerts, notification_deliveries, notification_told,
  notification_routes, notification_channels;
`);
  }
}
