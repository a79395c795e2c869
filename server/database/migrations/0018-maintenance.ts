import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = `
-- One-off windows in which nothing is notified; wall instants, as those who plan them mean them. Kept when they are over,
-- for reports that leave maintenance out.
CREATE TABLE maintenance_windows (
  id uuid PRIMARY KEY,
  computer_id uuid,
  policy_id uuid,
  -- key, or key:value
  label text,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  comment text NOT NULL,
  created_at timestamptz NOT NULL,
  created_by text NOT NULL,
  CHECK (computer_id IS NOT NULL OR policy_id IS NOT NULL OR label IS NOT NULL),
  CHECK (ends_at >= starts_at)
);
CREATE INDEX maintenance_windows_starts ON maintenance_windows (starts_at, id);
CREATE INDEX maintenance_windows_ends ON maintenance_windows (ends_at);

-- The last changes between offline and not; only of computers that had such an alert, and written only with one.
CREATE TABLE computer_flaps (
  computer_id uuid PRIMARY KEY,
  changed_fleet_ms bigint[] NOT NULL,
  -- Until when it counts as flapping; null while it does not.
  calm_fleet_ms bigint,
  -- Whether its recipients know that it flaps.
  is_told boolean NOT NULL DEFAULT false
);

CREATE INDEX alert_outbox_order ON alert_outbox (at_fleet_ms, id);
-- What is looked at again when windows are edited.
CREATE INDEX alert_notices_open ON alert_notices (alert_id) WHERE told = 'open' OR held_by = 'maintenance';
-- What was done to one alert, or anything else.
CREATE INDEX audit_log_subject ON audit_log (subject_id, at, id);
`;

/** Maintenance windows by API, flapping, and what the notice job asks for. */
export class Maintenance0000000000018 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
DROP INDEX audit_log_subject, alert_notices_open, alert_outbox_order;
DROP TABLE computer_flaps, maintenance_windows;
`);
  }
}
