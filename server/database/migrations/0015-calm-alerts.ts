import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = `
ALTER TABLE alerts
  -- The open mass-outage that holds this alert; null again when it is released or the incident ends.
  ADD COLUMN incident_id uuid,
  ADD COLUMN assignee text,
  -- Nothing is notified until then; null when nobody snoozed it.
  ADD COLUMN snoozed_until_fleet_ms bigint,
  ADD COLUMN is_flapping boolean NOT NULL DEFAULT false;
CREATE INDEX alerts_incident ON alerts (incident_id) WHERE incident_id IS NOT NULL;

-- Alerts that changed since somebody thought about telling it, written in the change's own transaction. A queue: what
-- was thought about is deleted with what came of it.
CREATE TABLE alert_outbox (
  id uuid PRIMARY KEY,
  alert_id uuid NOT NULL,
  change text NOT NULL,
  at_fleet_ms bigint NOT NULL
);

-- What the recipients of an alert's notifications know of it, and what keeps them from knowing more.
CREATE TABLE alert_notices (
  alert_id uuid PRIMARY KEY,
  told text NOT NULL DEFAULT 'nothing' CHECK (told IN ('nothing', 'open', 'closed')),
  held_by text,
  -- When it is thought about again; null when only a change of the alert brings news.
  look_fleet_ms bigint
);
CREATE INDEX alert_notices_look ON alert_notices (look_fleet_ms) WHERE look_fleet_ms IS NOT NULL;
`;

/** What alerts need to be calm: incidents that hold others, snoozing, and a notice apart from the condition. */
export class CalmAlerts0000000000015 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
DROP TABLE alert_notices;
DROP TABLE alert_outbox;
ALTER TABLE alerts DROP COLUMN is_flapping, DROP COLUMN snoozed_until_fleet_ms, DROP COLUMN assignee, DROP COLUMN incident_id;
`);
  }
}
