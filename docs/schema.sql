-- The schema that the migrations make, for review. Written by npm run schema; do not edit.

CREATE TABLE alert_notices (
  alert_id uuid NOT NULL,
  told text NOT NULL DEFAULT 'nothing'::text,
  held_by text,
  look_fleet_ms bigint,
  CONSTRAINT alert_notices_pkey PRIMARY KEY (alert_id),
  CONSTRAINT alert_notices_told_check CHECK ((told = ANY (ARRAY['nothing'::text, 'open'::text, 'closed'::text])))
);
CREATE INDEX alert_notices_look ON public.alert_notices USING btree (look_fleet_ms) WHERE (look_fleet_ms IS NOT NULL);
CREATE INDEX alert_notices_open ON public.alert_notices USING btree (alert_id) WHERE ((told = 'open'::text) OR (held_by = 'maintenance'::text));
GRANT DELETE, INSERT, SELECT, UPDATE ON alert_notices TO wardbeat_app;

CREATE TABLE alert_outbox (
  id uuid NOT NULL,
  alert_id uuid NOT NULL,
  change text NOT NULL,
  at_fleet_ms bigint NOT NULL,
  CONSTRAINT alert_outbox_pkey PRIMARY KEY (id)
);
CREATE INDEX alert_outbox_order ON public.alert_outbox USING btree (at_fleet_ms, id);
GRANT DELETE, INSERT, SELECT, UPDATE ON alert_outbox TO wardbeat_app;

CREATE TABLE alerts (
  id uuid NOT NULL,
  type text NOT NULL,
  severity text NOT NULL,
  state text NOT NULL,
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
  occurrences integer NOT NULL DEFAULT 1,
  incident_id uuid,
  assignee text,
  snoozed_until_fleet_ms bigint,
  is_flapping boolean NOT NULL DEFAULT false,
  computer_name text,
  CONSTRAINT alerts_pkey PRIMARY KEY (id),
  CONSTRAINT alerts_state_check CHECK ((state = ANY (ARRAY['raised'::text, 'acknowledged'::text, 'resolved'::text, 'dismissed'::text])))
);
CREATE INDEX alerts_computer ON public.alerts USING btree (computer_id, raised_fleet_ms, id);
CREATE INDEX alerts_incident ON public.alerts USING btree (incident_id) WHERE (incident_id IS NOT NULL);
CREATE UNIQUE INDEX alerts_open ON public.alerts USING btree (type, subject) WHERE (state = ANY (ARRAY['raised'::text, 'acknowledged'::text]));
CREATE INDEX alerts_raised ON public.alerts USING btree (raised_fleet_ms, id);
GRANT DELETE, INSERT, SELECT, UPDATE ON alerts TO wardbeat_app;

CREATE TABLE api_key_uses (
  key_id uuid NOT NULL,
  at timestamp with time zone NOT NULL,
  source_address text,
  CONSTRAINT api_key_uses_pkey PRIMARY KEY (key_id),
  CONSTRAINT api_key_uses_key_id_fkey FOREIGN KEY (key_id) REFERENCES api_keys(id) ON DELETE CASCADE
);
GRANT DELETE, INSERT, SELECT, UPDATE ON api_key_uses TO wardbeat_app;

CREATE TABLE api_keys (
  id uuid NOT NULL,
  name text NOT NULL,
  key_hash bytea NOT NULL,
  role text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  created_by text NOT NULL,
  expires_at timestamp with time zone,
  policy_id uuid,
  key_prefix text,
  CONSTRAINT api_keys_pkey PRIMARY KEY (id),
  CONSTRAINT api_keys_key_hash_key UNIQUE (key_hash),
  CONSTRAINT api_keys_name_key UNIQUE (name),
  CONSTRAINT api_keys_policy_id_fkey FOREIGN KEY (policy_id) REFERENCES policies(id),
  CONSTRAINT api_keys_role_check CHECK ((role = ANY (ARRAY['administrator'::text, 'operator'::text, 'auditor'::text])))
);
CREATE INDEX api_keys_policy ON public.api_keys USING btree (policy_id) WHERE (policy_id IS NOT NULL);
GRANT DELETE, INSERT, SELECT, UPDATE ON api_keys TO wardbeat_app;

CREATE TABLE audit_log (
  id uuid NOT NULL,
  at timestamp with time zone NOT NULL,
  actor_id text NOT NULL,
  actor_name text NOT NULL,
  source_address text,
  action text NOT NULL,
  subject_type text NOT NULL,
  subject_id text,
  before jsonb,
  after jsonb,
  transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
  CONSTRAINT audit_log_pkey PRIMARY KEY (id)
);
CREATE INDEX audit_log_at ON public.audit_log USING btree (at, id);
CREATE INDEX audit_log_subject ON public.audit_log USING btree (subject_id, at, id);
CREATE INDEX audit_log_transaction ON public.audit_log USING btree (transaction_id, id);
GRANT SELECT ON audit_log TO wardbeat_app;
GRANT INSERT (id, at, actor_id, actor_name, source_address, action, subject_type, subject_id, before, after) ON audit_log TO wardbeat_app;

CREATE TABLE audit_seals (
  number bigint NOT NULL,
  audit_id uuid NOT NULL,
  previous_hash bytea NOT NULL,
  hash bytea NOT NULL,
  sealed_at timestamp with time zone NOT NULL,
  transaction_id xid8 NOT NULL,
  cluster text NOT NULL,
  format smallint NOT NULL DEFAULT 1,
  row_hash bytea,
  looked_at timestamp with time zone,
  looked_settled xid8,
  looked_next xid8,
  CONSTRAINT audit_seals_pkey PRIMARY KEY (number),
  CONSTRAINT audit_seals_audit_id_key UNIQUE (audit_id)
);
GRANT INSERT, SELECT ON audit_seals TO wardbeat_app;

CREATE TABLE authority (
  id smallint NOT NULL,
  root_fingerprint text NOT NULL,
  recorded_at timestamp with time zone NOT NULL,
  CONSTRAINT authority_pkey PRIMARY KEY (id),
  CONSTRAINT authority_id_check CHECK ((id = 1))
);
GRANT DELETE, INSERT, SELECT, UPDATE ON authority TO wardbeat_app;

CREATE TABLE certificates (
  serial text NOT NULL,
  computer_id uuid NOT NULL,
  key_digest bytea NOT NULL,
  pem text NOT NULL,
  not_before timestamp with time zone NOT NULL,
  not_after timestamp with time zone NOT NULL,
  issued_at timestamp with time zone NOT NULL,
  revoked_at timestamp with time zone,
  revoked_reason text,
  renews text,
  used_at timestamp with time zone,
  CONSTRAINT certificates_pkey PRIMARY KEY (serial)
);
CREATE INDEX certificates_computer ON public.certificates USING btree (computer_id, serial);
CREATE INDEX certificates_expiry ON public.certificates USING btree (not_after, serial);
CREATE INDEX certificates_late ON public.certificates USING btree ((((not_after AT TIME ZONE 'UTC'::text) - ((not_after - not_before) / (3)::double precision))), computer_id) WHERE (revoked_at IS NULL);
GRANT DELETE, INSERT, SELECT, UPDATE ON certificates TO wardbeat_app;

CREATE TABLE channels (
  computer_id uuid NOT NULL,
  listener text NOT NULL,
  generation bigint NOT NULL,
  state text NOT NULL,
  since_fleet_ms bigint NOT NULL,
  reason text,
  CONSTRAINT channels_pkey PRIMARY KEY (computer_id),
  CONSTRAINT channels_state_check CHECK ((state = ANY (ARRAY['open'::text, 'closed'::text])))
) WITH (fillfactor=70);
CREATE INDEX channels_open ON public.channels USING btree (listener, computer_id) WHERE (state = 'open'::text);
GRANT DELETE, INSERT, SELECT, UPDATE ON channels TO wardbeat_app;

CREATE TABLE clock_offsets (
  fleet_ms bigint NOT NULL,
  offset_ms bigint NOT NULL,
  CONSTRAINT clock_offsets_pkey PRIMARY KEY (fleet_ms)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON clock_offsets TO wardbeat_app;

CREATE TABLE command_file_parts (
  command_id uuid NOT NULL,
  part smallint NOT NULL,
  data bytea NOT NULL,
  CONSTRAINT command_file_parts_pkey PRIMARY KEY (command_id, part)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON command_file_parts TO wardbeat_app;

CREATE TABLE command_files (
  command_id uuid NOT NULL,
  content_type text NOT NULL,
  bytes integer NOT NULL,
  sha256 bytea NOT NULL,
  parts smallint NOT NULL,
  stored_fleet_ms bigint NOT NULL,
  CONSTRAINT command_files_pkey PRIMARY KEY (command_id)
);
CREATE INDEX command_files_stored ON public.command_files USING btree (stored_fleet_ms);
GRANT DELETE, INSERT, SELECT, UPDATE ON command_files TO wardbeat_app;

CREATE TABLE commands (
  id uuid NOT NULL,
  computer_id uuid NOT NULL,
  number integer NOT NULL,
  type text NOT NULL,
  args jsonb NOT NULL,
  priority smallint NOT NULL,
  state text NOT NULL,
  is_due boolean NOT NULL,
  idempotency_key text,
  request_digest bytea NOT NULL,
  operation_id uuid,
  created_by text NOT NULL,
  queued_fleet_ms bigint NOT NULL,
  not_before_fleet_ms bigint,
  expires_fleet_ms bigint NOT NULL,
  delivered_fleet_ms bigint,
  acknowledged_fleet_ms bigint,
  started_fleet_ms bigint,
  ended_fleet_ms bigint,
  reason text,
  detail text,
  result jsonb,
  CONSTRAINT commands_pkey PRIMARY KEY (id)
);
CREATE INDEX commands_ended ON public.commands USING btree (ended_fleet_ms) WHERE (ended_fleet_ms IS NOT NULL);
CREATE INDEX commands_expiring ON public.commands USING btree (expires_fleet_ms, id) WHERE (state = ANY (ARRAY['queued'::text, 'delivered'::text, 'running'::text]));
CREATE UNIQUE INDEX commands_idempotency ON public.commands USING btree (computer_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE UNIQUE INDEX commands_number ON public.commands USING btree (computer_id, number);
CREATE INDEX commands_of_operation ON public.commands USING btree (operation_id, state) WHERE (operation_id IS NOT NULL);
CREATE INDEX commands_open ON public.commands USING btree (computer_id) WHERE (state = ANY (ARRAY['queued'::text, 'delivered'::text, 'running'::text]));
CREATE INDEX commands_waiting ON public.commands USING btree (not_before_fleet_ms, id) WHERE ((state = 'queued'::text) AND (NOT is_due));
GRANT DELETE, INSERT, SELECT, UPDATE ON commands TO wardbeat_app;

CREATE TABLE computer_components (
  computer_id uuid NOT NULL,
  kind text NOT NULL,
  name text NOT NULL,
  state text NOT NULL,
  since_fleet_ms bigint NOT NULL,
  detail text,
  CONSTRAINT computer_components_pkey PRIMARY KEY (computer_id, kind, name),
  CONSTRAINT computer_components_state_check CHECK ((state = ANY (ARRAY['online'::text, 'offline'::text, 'unknown'::text])))
);
GRANT DELETE, INSERT, SELECT, UPDATE ON computer_components TO wardbeat_app;

CREATE TABLE computer_connections (
  computer_id uuid NOT NULL,
  remote_address text NOT NULL,
  id uuid NOT NULL,
  protocol text NOT NULL,
  local_address text NOT NULL,
  local_port integer NOT NULL,
  remote_port integer NOT NULL,
  uid bigint,
  process_id bigint,
  process_name text,
  CONSTRAINT computer_connections_pkey PRIMARY KEY (computer_id, remote_address, id)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON computer_connections TO wardbeat_app;

CREATE TABLE computer_contacts (
  computer_id uuid NOT NULL,
  direction text,
  direction_since_fleet_ms bigint,
  listener_state text,
  listener_port integer,
  listener_detail text,
  candidate_fingerprint bytea,
  candidate_direction text,
  candidate_state text,
  candidate_port integer,
  candidate_reason text,
  candidate_detail text,
  candidate_since_fleet_ms bigint,
  collection text,
  firewall_state text,
  firewall_digest bytea,
  firewall_detail text,
  isolated_by uuid,
  isolated_since_fleet_ms bigint,
  CONSTRAINT computer_contacts_pkey PRIMARY KEY (computer_id),
  CONSTRAINT computer_contacts_candidate_direction_check CHECK ((candidate_direction = ANY (ARRAY['bidirectional'::text, 'managerInitiated'::text, 'agentInitiated'::text]))),
  CONSTRAINT computer_contacts_candidate_state_check CHECK ((candidate_state = ANY (ARRAY['proving'::text, 'reverted'::text]))),
  CONSTRAINT computer_contacts_direction_check CHECK ((direction = ANY (ARRAY['bidirectional'::text, 'managerInitiated'::text, 'agentInitiated'::text]))),
  CONSTRAINT computer_contacts_listener_state_check CHECK ((listener_state = ANY (ARRAY['closed'::text, 'listening'::text, 'failed'::text])))
);
CREATE INDEX computer_contacts_dialled ON public.computer_contacts USING btree (computer_id) WHERE (direction = 'managerInitiated'::text);
GRANT DELETE, INSERT, SELECT, UPDATE ON computer_contacts TO wardbeat_app;

CREATE TABLE computer_dials (
  computer_id uuid NOT NULL,
  last_begun_fleet_ms bigint NOT NULL,
  last_ended_fleet_ms bigint NOT NULL,
  last_result text NOT NULL,
  last_detail text,
  failures integer NOT NULL,
  failed_begun_fleet_ms bigint[] NOT NULL DEFAULT '{}'::bigint[],
  failed_ended_fleet_ms bigint[] NOT NULL DEFAULT '{}'::bigint[],
  last_host_up boolean,
  CONSTRAINT computer_dials_pkey PRIMARY KEY (computer_id)
) WITH (fillfactor=70);
GRANT DELETE, INSERT, SELECT, UPDATE ON computer_dials TO wardbeat_app;

CREATE TABLE computer_facts (
  computer_id uuid NOT NULL,
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
  updated_fleet_ms bigint NOT NULL,
  CONSTRAINT computer_facts_pkey PRIMARY KEY (computer_id)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON computer_facts TO wardbeat_app;

CREATE TABLE computer_flaps (
  computer_id uuid NOT NULL,
  changed_fleet_ms bigint[] NOT NULL,
  calm_fleet_ms bigint,
  is_told boolean NOT NULL DEFAULT false,
  CONSTRAINT computer_flaps_pkey PRIMARY KEY (computer_id)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON computer_flaps TO wardbeat_app;

CREATE TABLE computer_inventories (
  computer_id uuid NOT NULL,
  kind text NOT NULL,
  digest bytea NOT NULL,
  total integer NOT NULL,
  listed integer NOT NULL,
  changed_fleet_ms bigint NOT NULL,
  CONSTRAINT computer_inventories_pkey PRIMARY KEY (computer_id, kind)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON computer_inventories TO wardbeat_app;

CREATE TABLE computer_listening_ports (
  computer_id uuid NOT NULL,
  port integer NOT NULL,
  id uuid NOT NULL,
  protocol text NOT NULL,
  address text NOT NULL,
  uid bigint,
  process_id bigint,
  process_name text,
  CONSTRAINT computer_listening_ports_pkey PRIMARY KEY (computer_id, port, id)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON computer_listening_ports TO wardbeat_app;

CREATE TABLE computer_live (
  computer_id uuid NOT NULL,
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
  clock_error_ms bigint,
  seen_by_agent_fleet_ms bigint,
  seen_by_dial_fleet_ms bigint,
  clock_sampled_fleet_ms bigint,
  is_clock_drifting boolean NOT NULL DEFAULT false,
  has_commands boolean NOT NULL DEFAULT false,
  awaits_results boolean NOT NULL DEFAULT false,
  CONSTRAINT computer_live_pkey PRIMARY KEY (computer_id)
) WITH (fillfactor=70, autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_cost_delay=0);
GRANT DELETE, INSERT, SELECT, UPDATE ON computer_live TO wardbeat_app;

CREATE TABLE computer_packages (
  computer_id uuid NOT NULL,
  name text NOT NULL,
  id uuid NOT NULL,
  version text NOT NULL,
  architecture text NOT NULL,
  source text NOT NULL,
  CONSTRAINT computer_packages_pkey PRIMARY KEY (computer_id, name, id)
);
CREATE INDEX computer_packages_name ON public.computer_packages USING btree (name, version, computer_id);
GRANT DELETE, INSERT, SELECT, UPDATE ON computer_packages TO wardbeat_app;

CREATE TABLE computer_probes (
  computer_id uuid NOT NULL,
  ended_fleet_ms bigint NOT NULL,
  result text NOT NULL,
  detail text,
  host_up boolean,
  CONSTRAINT computer_probes_pkey PRIMARY KEY (computer_id)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON computer_probes TO wardbeat_app;

CREATE TABLE computer_refusals (
  computer_id uuid NOT NULL,
  code text NOT NULL,
  refused_fleet_ms bigint[] NOT NULL,
  source_address text,
  detail text,
  CONSTRAINT computer_refusals_pkey PRIMARY KEY (computer_id, code)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON computer_refusals TO wardbeat_app;

CREATE TABLE computer_revisions (
  computer_id uuid NOT NULL,
  revision integer NOT NULL,
  changed_at timestamp with time zone NOT NULL,
  changed_fleet_ms bigint NOT NULL,
  actor_id text NOT NULL,
  actor_name text NOT NULL,
  comment text NOT NULL,
  name text NOT NULL,
  policy_id uuid NOT NULL,
  labels jsonb NOT NULL,
  address text,
  overrides jsonb,
  CONSTRAINT computer_revisions_pkey PRIMARY KEY (computer_id, revision)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON computer_revisions TO wardbeat_app;

CREATE TABLE computer_status (
  computer_id uuid NOT NULL,
  status text NOT NULL,
  reason text NOT NULL,
  since_fleet_ms bigint NOT NULL,
  offline_fleet_ms bigint,
  flags text[] NOT NULL DEFAULT '{}'::text[],
  goodbye_reason text,
  goodbye_fleet_ms bigint,
  goodbye_expected_ms bigint,
  CONSTRAINT computer_status_pkey PRIMARY KEY (computer_id),
  CONSTRAINT computer_status_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'online'::text, 'late'::text, 'offline'::text, 'stopped'::text, 'revoked'::text])))
);
CREATE INDEX computer_status_absence ON public.computer_status USING btree (computer_id) WHERE (goodbye_reason = ANY (ARRAY['restart'::text, 'update'::text, 'uninstall'::text]));
CREATE INDEX computer_status_flagged ON public.computer_status USING gin (flags) WHERE (flags <> '{}'::text[]);
CREATE INDEX computer_status_since ON public.computer_status USING btree (since_fleet_ms, computer_id);
CREATE INDEX computer_status_status ON public.computer_status USING btree (status, computer_id);
GRANT DELETE, INSERT, SELECT, UPDATE ON computer_status TO wardbeat_app;

CREATE TABLE computers (
  id uuid NOT NULL,
  name text NOT NULL,
  kind text NOT NULL,
  address text,
  policy_id uuid NOT NULL,
  labels jsonb NOT NULL,
  overrides jsonb,
  revision integer NOT NULL,
  power_state text NOT NULL DEFAULT 'unknown'::text,
  power_source text,
  power_since_fleet_ms bigint,
  power_expires_fleet_ms bigint,
  verdict_rules_fleet_ms bigint NOT NULL,
  created_fleet_ms bigint NOT NULL,
  enrolled_fleet_ms bigint,
  CONSTRAINT computers_pkey PRIMARY KEY (id),
  CONSTRAINT computers_kind_check CHECK ((kind = ANY (ARRAY['agent'::text, 'appliance'::text]))),
  CONSTRAINT computers_policy_id_fkey FOREIGN KEY (policy_id) REFERENCES policies(id),
  CONSTRAINT computers_power_state_check CHECK ((power_state = ANY (ARRAY['running'::text, 'stopped'::text, 'unknown'::text])))
);
CREATE INDEX computers_enrolled ON public.computers USING btree (enrolled_fleet_ms, id);
CREATE INDEX computers_labels ON public.computers USING gin (labels jsonb_path_ops);
CREATE INDEX computers_name ON public.computers USING btree (name, id);
CREATE INDEX computers_policy ON public.computers USING btree (policy_id, id);
CREATE INDEX computers_power ON public.computers USING btree (id) WHERE (power_since_fleet_ms IS NOT NULL);
GRANT DELETE, INSERT, SELECT, UPDATE ON computers TO wardbeat_app;

CREATE TABLE deaf_spans (
  listener text NOT NULL,
  from_fleet_ms bigint NOT NULL,
  until_fleet_ms bigint NOT NULL,
  cause text NOT NULL,
  CONSTRAINT deaf_spans_pkey PRIMARY KEY (listener, from_fleet_ms),
  CONSTRAINT deaf_spans_check CHECK ((until_fleet_ms > from_fleet_ms))
);
CREATE INDEX deaf_spans_until ON public.deaf_spans USING btree (until_fleet_ms);
GRANT DELETE, INSERT, SELECT, UPDATE ON deaf_spans TO wardbeat_app;

CREATE TABLE dial_shards (
  shard smallint NOT NULL,
  owner text,
  generation bigint NOT NULL DEFAULT 0,
  lease_until_fleet_ms bigint NOT NULL DEFAULT 0,
  CONSTRAINT dial_shards_pkey PRIMARY KEY (shard),
  CONSTRAINT dial_shards_shard_check CHECK (((shard >= 0) AND (shard <= 63)))
);
GRANT DELETE, INSERT, SELECT, UPDATE ON dial_shards TO wardbeat_app;

CREATE TABLE enrollment_tokens (
  id uuid NOT NULL,
  token_hash bytea NOT NULL,
  policy_id uuid NOT NULL,
  kind text NOT NULL,
  labels jsonb NOT NULL,
  uses integer NOT NULL,
  used integer NOT NULL DEFAULT 0,
  expires_at timestamp with time zone NOT NULL,
  rate_per_second double precision,
  computer_id uuid,
  created_at timestamp with time zone NOT NULL,
  created_by text NOT NULL,
  CONSTRAINT enrollment_tokens_pkey PRIMARY KEY (id),
  CONSTRAINT enrollment_tokens_computer_id_fkey FOREIGN KEY (computer_id) REFERENCES computers(id) ON DELETE CASCADE,
  CONSTRAINT enrollment_tokens_kind_check CHECK ((kind = ANY (ARRAY['agent'::text, 'appliance'::text]))),
  CONSTRAINT enrollment_tokens_policy_id_fkey FOREIGN KEY (policy_id) REFERENCES policies(id),
  CONSTRAINT enrollment_tokens_token_hash_key UNIQUE (token_hash)
);
CREATE INDEX enrollment_tokens_created ON public.enrollment_tokens USING btree (created_at, id);
GRANT DELETE, INSERT, SELECT, UPDATE ON enrollment_tokens TO wardbeat_app;

CREATE TABLE enrollments (
  token_id uuid NOT NULL,
  key_digest bytea NOT NULL,
  computer_id uuid NOT NULL,
  certificate_serial text NOT NULL,
  enrolled_at timestamp with time zone NOT NULL,
  CONSTRAINT enrollments_pkey PRIMARY KEY (token_id, key_digest)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON enrollments TO wardbeat_app;

CREATE TABLE events (
  id uuid NOT NULL,
  partition_at timestamp with time zone NOT NULL,
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
  CONSTRAINT events_pkey PRIMARY KEY (partition_at, id)
) PARTITION BY RANGE (partition_at);
CREATE TABLE events_default PARTITION OF events DEFAULT;
CREATE INDEX events_computer ON ONLY public.events USING btree (computer_id, received_fleet_ms, id);
CREATE INDEX events_manager ON ONLY public.events USING btree (received_fleet_ms, id) WHERE (lane = 'manager'::text);
CREATE INDEX events_received ON ONLY public.events USING btree (received_fleet_ms, id);
CREATE INDEX events_transaction ON ONLY public.events USING btree (transaction_id, id);
GRANT DELETE, INSERT, SELECT, UPDATE ON events TO wardbeat_app;

CREATE TABLE farewells (
  computer_id uuid NOT NULL,
  address text,
  observed_address text,
  port integer NOT NULL,
  ordered_fleet_ms bigint NOT NULL,
  due_fleet_ms bigint NOT NULL,
  attempts smallint NOT NULL DEFAULT 0,
  CONSTRAINT farewells_pkey PRIMARY KEY (computer_id)
);
CREATE INDEX farewells_due ON public.farewells USING btree (due_fleet_ms);
GRANT DELETE, INSERT, SELECT, UPDATE ON farewells TO wardbeat_app;

CREATE TABLE fleet_clock (
  id smallint NOT NULL,
  anchor_fleet_ms bigint NOT NULL,
  wall_ms bigint NOT NULL,
  boot_id text NOT NULL,
  boot_ms bigint NOT NULL,
  restore_epoch uuid NOT NULL,
  CONSTRAINT fleet_clock_pkey PRIMARY KEY (id),
  CONSTRAINT fleet_clock_id_check CHECK ((id = 1))
);
GRANT DELETE, INSERT, SELECT, UPDATE ON fleet_clock TO wardbeat_app;

CREATE TABLE heartbeat_gaps (
  id uuid NOT NULL,
  partition_at timestamp with time zone NOT NULL,
  computer_id uuid NOT NULL,
  from_fleet_ms bigint NOT NULL,
  until_fleet_ms bigint NOT NULL,
  interval_ms integer NOT NULL,
  deaf_ms bigint NOT NULL,
  CONSTRAINT heartbeat_gaps_pkey PRIMARY KEY (partition_at, id)
) PARTITION BY RANGE (partition_at);
CREATE TABLE heartbeat_gaps_default PARTITION OF heartbeat_gaps DEFAULT;
CREATE INDEX heartbeat_gaps_computer ON ONLY public.heartbeat_gaps USING btree (computer_id, from_fleet_ms, id);
GRANT DELETE, INSERT, SELECT, UPDATE ON heartbeat_gaps TO wardbeat_app;

CREATE TABLE heartbeat_rings (
  computer_id uuid NOT NULL,
  ring bytea NOT NULL,
  counters jsonb,
  agent_time_ms bigint,
  updated_fleet_ms bigint NOT NULL,
  spool jsonb,
  CONSTRAINT heartbeat_rings_pkey PRIMARY KEY (computer_id)
) WITH (fillfactor=70);
GRANT DELETE, INSERT, SELECT, UPDATE ON heartbeat_rings TO wardbeat_app;

CREATE TABLE jobs (
  name text NOT NULL,
  owner text,
  generation bigint NOT NULL DEFAULT 0,
  lease_until_fleet_ms bigint NOT NULL DEFAULT 0,
  CONSTRAINT jobs_pkey PRIMARY KEY (name)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON jobs TO wardbeat_app;

CREATE TABLE lane_positions (
  computer_id uuid NOT NULL,
  lane text NOT NULL,
  epoch text NOT NULL,
  "position" bigint NOT NULL,
  named_fleet_ms bigint NOT NULL,
  CONSTRAINT lane_positions_pkey PRIMARY KEY (computer_id, lane, epoch)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON lane_positions TO wardbeat_app;

CREATE TABLE lateness_histograms (
  day date NOT NULL,
  policy_id uuid NOT NULL,
  buckets bigint[] NOT NULL,
  CONSTRAINT lateness_histograms_pkey PRIMARY KEY (day, policy_id)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON lateness_histograms TO wardbeat_app;

CREATE TABLE listeners (
  node text NOT NULL,
  generation bigint NOT NULL,
  started_fleet_ms bigint NOT NULL,
  listened_until_fleet_ms bigint NOT NULL,
  CONSTRAINT listeners_pkey PRIMARY KEY (node)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON listeners TO wardbeat_app;

CREATE TABLE maintenance_windows (
  id uuid NOT NULL,
  computer_id uuid,
  policy_id uuid,
  label text,
  starts_at timestamp with time zone NOT NULL,
  ends_at timestamp with time zone NOT NULL,
  comment text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  created_by text NOT NULL,
  CONSTRAINT maintenance_windows_pkey PRIMARY KEY (id),
  CONSTRAINT maintenance_windows_check CHECK (((computer_id IS NOT NULL) OR (policy_id IS NOT NULL) OR (label IS NOT NULL))),
  CONSTRAINT maintenance_windows_check1 CHECK ((ends_at >= starts_at))
);
CREATE INDEX maintenance_windows_ends ON public.maintenance_windows USING btree (ends_at);
CREATE INDEX maintenance_windows_starts ON public.maintenance_windows USING btree (starts_at, id);
GRANT DELETE, INSERT, SELECT, UPDATE ON maintenance_windows TO wardbeat_app;

CREATE TABLE migration_lock (
  id smallint NOT NULL,
  CONSTRAINT migration_lock_pkey PRIMARY KEY (id)
);

CREATE TABLE migrations (
  id integer NOT NULL DEFAULT nextval('migrations_id_seq'::regclass),
  "timestamp" bigint NOT NULL,
  name character varying NOT NULL,
  CONSTRAINT "PK_8c82d7f526340ab734260ea46be" PRIMARY KEY (id)
);

CREATE TABLE notification_attempts (
  delivery_id uuid NOT NULL,
  attempt integer NOT NULL,
  at_fleet_ms bigint NOT NULL,
  duration_ms integer NOT NULL,
  error text,
  CONSTRAINT notification_attempts_pkey PRIMARY KEY (delivery_id, attempt),
  CONSTRAINT notification_attempts_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES notification_deliveries(id) ON DELETE CASCADE
);
GRANT DELETE, INSERT, SELECT, UPDATE ON notification_attempts TO wardbeat_app;

CREATE TABLE notification_channels (
  id uuid NOT NULL,
  name text NOT NULL,
  type text NOT NULL,
  settings jsonb NOT NULL,
  secrets bytea NOT NULL,
  revision bigint NOT NULL,
  created_at timestamp with time zone NOT NULL,
  created_by text NOT NULL,
  updated_at timestamp with time zone NOT NULL,
  delivered_fleet_ms bigint,
  failed_fleet_ms bigint,
  last_error text,
  CONSTRAINT notification_channels_pkey PRIMARY KEY (id),
  CONSTRAINT notification_channels_name_key UNIQUE (name),
  CONSTRAINT notification_channels_type_check CHECK ((type = ANY (ARRAY['email'::text, 'webhook'::text, 'slack'::text, 'syslog'::text])))
);
GRANT DELETE, INSERT, SELECT, UPDATE ON notification_channels TO wardbeat_app;

CREATE TABLE notification_deliveries (
  id uuid NOT NULL,
  channel_id uuid NOT NULL,
  route_id uuid NOT NULL,
  kind text NOT NULL,
  state text NOT NULL DEFAULT 'queued'::text,
  is_collecting boolean NOT NULL DEFAULT true,
  alert_count integer NOT NULL DEFAULT 0,
  attempts integer NOT NULL DEFAULT 0,
  failures integer NOT NULL DEFAULT 0,
  awaits_channel boolean NOT NULL DEFAULT false,
  created_fleet_ms bigint NOT NULL,
  due_fleet_ms bigint NOT NULL,
  expires_fleet_ms bigint NOT NULL,
  claimed_until_fleet_ms bigint,
  ended_fleet_ms bigint,
  last_error text,
  CONSTRAINT notification_deliveries_pkey PRIMARY KEY (id),
  CONSTRAINT notification_deliveries_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'delivered'::text, 'failed'::text, 'dead'::text])))
);
CREATE INDEX notification_deliveries_channel ON public.notification_deliveries USING btree (channel_id, created_fleet_ms, id);
CREATE UNIQUE INDEX notification_deliveries_collecting ON public.notification_deliveries USING btree (route_id, kind) WHERE is_collecting;
CREATE INDEX notification_deliveries_created ON public.notification_deliveries USING btree (created_fleet_ms, id);
CREATE INDEX notification_deliveries_due ON public.notification_deliveries USING btree (due_fleet_ms, id) WHERE (state = ANY (ARRAY['queued'::text, 'failed'::text]));
GRANT DELETE, INSERT, SELECT, UPDATE ON notification_deliveries TO wardbeat_app;

CREATE TABLE notification_delivery_alerts (
  delivery_id uuid NOT NULL,
  alert_id uuid NOT NULL,
  "position" integer NOT NULL,
  computer_id uuid,
  shown jsonb NOT NULL,
  CONSTRAINT notification_delivery_alerts_pkey PRIMARY KEY (delivery_id, alert_id),
  CONSTRAINT notification_delivery_alerts_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES notification_deliveries(id) ON DELETE CASCADE
);
CREATE INDEX notification_delivery_alerts_alert ON public.notification_delivery_alerts USING btree (alert_id, delivery_id);
GRANT DELETE, INSERT, SELECT, UPDATE ON notification_delivery_alerts TO wardbeat_app;

CREATE TABLE notification_routes (
  id uuid NOT NULL,
  name text NOT NULL,
  channel_id uuid NOT NULL,
  min_severity text,
  types text[],
  policy_id uuid,
  label text,
  group_seconds integer NOT NULL,
  repeat_minutes integer,
  is_enabled boolean NOT NULL,
  revision bigint NOT NULL,
  created_at timestamp with time zone NOT NULL,
  created_by text NOT NULL,
  updated_at timestamp with time zone NOT NULL,
  CONSTRAINT notification_routes_pkey PRIMARY KEY (id),
  CONSTRAINT notification_routes_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES notification_channels(id),
  CONSTRAINT notification_routes_name_key UNIQUE (name)
);
CREATE INDEX notification_routes_channel ON public.notification_routes USING btree (channel_id);
CREATE INDEX notification_routes_policy ON public.notification_routes USING btree (policy_id) WHERE (policy_id IS NOT NULL);
GRANT DELETE, INSERT, SELECT, UPDATE ON notification_routes TO wardbeat_app;

CREATE TABLE notification_told (
  route_id uuid NOT NULL,
  alert_id uuid NOT NULL,
  next_fleet_ms bigint,
  CONSTRAINT notification_told_pkey PRIMARY KEY (route_id, alert_id)
);
CREATE INDEX notification_told_alert ON public.notification_told USING btree (alert_id, route_id);
CREATE INDEX notification_told_next ON public.notification_told USING btree (next_fleet_ms, route_id, alert_id) WHERE (next_fleet_ms IS NOT NULL);
GRANT DELETE, INSERT, SELECT, UPDATE ON notification_told TO wardbeat_app;

CREATE TABLE operation_targets (
  operation_id uuid NOT NULL,
  computer_id uuid NOT NULL,
  computer_name text NOT NULL,
  state text NOT NULL,
  reason text,
  command_id uuid,
  CONSTRAINT operation_targets_pkey PRIMARY KEY (operation_id, computer_id)
);
CREATE INDEX operation_targets_waiting ON public.operation_targets USING btree (operation_id, computer_id) WHERE (state = 'waiting'::text);
CREATE INDEX operation_targets_without_command ON public.operation_targets USING btree (operation_id, state) WHERE (state <> 'queued'::text);
GRANT DELETE, INSERT, SELECT, UPDATE ON operation_targets TO wardbeat_app;

CREATE TABLE operations (
  id uuid NOT NULL,
  state text NOT NULL,
  filter jsonb NOT NULL,
  action jsonb NOT NULL,
  per_second integer NOT NULL,
  idempotency_key text,
  request_digest bytea NOT NULL,
  matched integer NOT NULL,
  created_fleet_ms bigint NOT NULL,
  created_by jsonb NOT NULL,
  queued_fleet_ms bigint,
  policy_id uuid,
  CONSTRAINT operations_pkey PRIMARY KEY (id)
);
CREATE INDEX operations_created ON public.operations USING btree (created_fleet_ms, id);
CREATE UNIQUE INDEX operations_idempotency ON public.operations USING btree (idempotency_key, policy_id) NULLS NOT DISTINCT WHERE (idempotency_key IS NOT NULL);
CREATE INDEX operations_running ON public.operations USING btree (created_fleet_ms, id) WHERE (state = 'queueing'::text);
GRANT DELETE, INSERT, SELECT, UPDATE ON operations TO wardbeat_app;

CREATE TABLE policies (
  id uuid NOT NULL,
  parent_id uuid,
  name text NOT NULL,
  description text NOT NULL,
  settings jsonb NOT NULL,
  locks jsonb NOT NULL,
  built_in boolean NOT NULL DEFAULT false,
  revision integer NOT NULL,
  created_at timestamp with time zone NOT NULL,
  updated_at timestamp with time zone NOT NULL,
  verdict_rules_fleet_ms bigint NOT NULL,
  CONSTRAINT policies_pkey PRIMARY KEY (id),
  CONSTRAINT policies_name_per_parent UNIQUE NULLS NOT DISTINCT (parent_id, name),
  CONSTRAINT policies_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES policies(id)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON policies TO wardbeat_app;

CREATE TABLE policy_forest (
  id smallint NOT NULL,
  epoch uuid NOT NULL,
  counter bigint NOT NULL,
  CONSTRAINT policy_forest_pkey PRIMARY KEY (id),
  CONSTRAINT policy_forest_id_check CHECK ((id = 1))
);
GRANT DELETE, INSERT, SELECT, UPDATE ON policy_forest TO wardbeat_app;

CREATE TABLE policy_revisions (
  policy_id uuid NOT NULL,
  revision integer NOT NULL,
  changed_at timestamp with time zone NOT NULL,
  changed_fleet_ms bigint NOT NULL,
  actor_id text NOT NULL,
  actor_name text NOT NULL,
  comment text NOT NULL,
  name text NOT NULL,
  parent_id uuid,
  settings jsonb NOT NULL,
  locks jsonb NOT NULL,
  CONSTRAINT policy_revisions_pkey PRIMARY KEY (policy_id, revision)
);
GRANT DELETE, INSERT, SELECT, UPDATE ON policy_revisions TO wardbeat_app;

CREATE TABLE recovery_codes (
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  code_hash bytea NOT NULL,
  used_at timestamp with time zone,
  CONSTRAINT recovery_codes_pkey PRIMARY KEY (id),
  CONSTRAINT recovery_codes_user_id_code_hash_key UNIQUE (user_id, code_hash),
  CONSTRAINT recovery_codes_user_id_fkey FOREIGN KEY (user_id) REFERENCES second_factors(user_id) ON DELETE CASCADE
);
GRANT DELETE, INSERT, SELECT, UPDATE ON recovery_codes TO wardbeat_app;

CREATE TABLE second_factors (
  user_id uuid NOT NULL,
  secret bytea NOT NULL,
  created_at timestamp with time zone NOT NULL,
  confirmed_at timestamp with time zone,
  last_step bigint,
  failures integer NOT NULL DEFAULT 0,
  failed_at timestamp with time zone,
  CONSTRAINT second_factors_pkey PRIMARY KEY (user_id),
  CONSTRAINT second_factors_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
GRANT DELETE, INSERT, SELECT, UPDATE ON second_factors TO wardbeat_app;

CREATE TABLE sessions (
  id uuid NOT NULL,
  secret_hash bytea NOT NULL,
  csrf_hash bytea NOT NULL,
  user_id uuid NOT NULL,
  created_at timestamp with time zone NOT NULL,
  used_at timestamp with time zone NOT NULL,
  expires_at timestamp with time zone NOT NULL,
  proven_at timestamp with time zone NOT NULL,
  source_address text,
  user_agent text,
  CONSTRAINT sessions_pkey PRIMARY KEY (id),
  CONSTRAINT sessions_secret_hash_key UNIQUE (secret_hash),
  CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
CREATE INDEX sessions_user ON public.sessions USING btree (user_id);
GRANT DELETE, INSERT, SELECT, UPDATE ON sessions TO wardbeat_app;

CREATE TABLE status_history (
  id uuid NOT NULL,
  partition_at timestamp with time zone NOT NULL,
  computer_id uuid NOT NULL,
  status text NOT NULL,
  previous_status text NOT NULL,
  reason text NOT NULL,
  since_fleet_ms bigint NOT NULL,
  noticed_fleet_ms bigint NOT NULL,
  CONSTRAINT status_history_pkey PRIMARY KEY (partition_at, id)
) PARTITION BY RANGE (partition_at);
CREATE TABLE status_history_default PARTITION OF status_history DEFAULT;
CREATE INDEX status_history_computer ON ONLY public.status_history USING btree (computer_id, since_fleet_ms, id);
CREATE INDEX status_history_noticed ON ONLY public.status_history USING btree (noticed_fleet_ms, id);
GRANT DELETE, INSERT, SELECT, UPDATE ON status_history TO wardbeat_app;

CREATE TABLE user_sign_ins (
  user_id uuid NOT NULL,
  at timestamp with time zone NOT NULL,
  source_address text,
  CONSTRAINT user_sign_ins_pkey PRIMARY KEY (user_id),
  CONSTRAINT user_sign_ins_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
GRANT DELETE, INSERT, SELECT, UPDATE ON user_sign_ins TO wardbeat_app;

CREATE TABLE users (
  id uuid NOT NULL,
  name text NOT NULL,
  password_hash text NOT NULL,
  role text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  password_changed_at timestamp with time zone NOT NULL,
  policy_id uuid,
  must_change_password boolean NOT NULL DEFAULT false,
  disabled boolean NOT NULL DEFAULT false,
  CONSTRAINT users_pkey PRIMARY KEY (id),
  CONSTRAINT users_name_key UNIQUE (name),
  CONSTRAINT users_policy_id_fkey FOREIGN KEY (policy_id) REFERENCES policies(id),
  CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['administrator'::text, 'operator'::text, 'auditor'::text])))
);
CREATE INDEX users_policy ON public.users USING btree (policy_id) WHERE (policy_id IS NOT NULL);
GRANT DELETE, INSERT, SELECT, UPDATE ON users TO wardbeat_app;

CREATE TABLE verdict_shards (
  shard smallint NOT NULL,
  owner text,
  generation bigint NOT NULL DEFAULT 0,
  lease_until_fleet_ms bigint NOT NULL DEFAULT 0,
  CONSTRAINT verdict_shards_pkey PRIMARY KEY (shard),
  CONSTRAINT verdict_shards_shard_check CHECK (((shard >= 0) AND (shard <= 63)))
);
GRANT DELETE, INSERT, SELECT, UPDATE ON verdict_shards TO wardbeat_app;

CREATE OR REPLACE FUNCTION public.wardbeat_check_partitioned(p_table text)
 RETURNS oid
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  v_parent oid;
BEGIN
  SELECT c.oid INTO v_parent
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
  WHERE c.relname = p_table AND c.relnamespace = 'public'::pg_catalog.regnamespace
    AND c.relowner = current_user::pg_catalog.regrole::oid
    AND p.partstrat = 'r' AND p.partnatts = 1 AND a.attname = 'partition_at';
  IF v_parent IS NULL THEN
    RAISE EXCEPTION 'table % is not partitioned by partition_at', p_table USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN v_parent;
END $function$
;

CREATE OR REPLACE FUNCTION public.wardbeat_drop_partitions(p_table text, p_before timestamp with time zone)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET lock_timeout TO '5s'
AS $function$
DECLARE
  v_parent oid := public.wardbeat_check_partitioned(p_table);
  v_default oid;
  v_name text;
  v_dropped integer := 0;
BEGIN
  FOR v_name IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = v_parent AND c.relname ~ ('^' || p_table || '_p[0-9]{8}$')
      AND to_timestamp(right(c.relname, 8), 'YYYYMMDD') + interval '1 day' <= p_before
    ORDER BY c.relname
  LOOP
    EXECUTE format('DROP TABLE public.%I', v_name);
    v_dropped := v_dropped + 1;
  END LOOP;
  SELECT NULLIF(partdefid, 0) INTO v_default FROM pg_partitioned_table WHERE partrelid = v_parent;
  IF v_default IS NOT NULL THEN
    EXECUTE format('DELETE FROM %s WHERE partition_at < $1', v_default::regclass) USING p_before;
  END IF;
  RETURN v_dropped;
END $function$
;

CREATE OR REPLACE FUNCTION public.wardbeat_ensure_partitions(p_table text, p_from timestamp with time zone, p_days integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET lock_timeout TO '5s'
AS $function$
DECLARE
  v_parent oid := public.wardbeat_check_partitioned(p_table);
  v_default oid;
  v_from timestamptz;
  v_name text;
  v_made integer := 0;
BEGIN
  IF p_days NOT BETWEEN 1 AND 400 THEN
    RAISE EXCEPTION 'days must be from 1 to 400' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT NULLIF(partdefid, 0) INTO v_default FROM pg_partitioned_table WHERE partrelid = v_parent;
  FOR v_day IN 0 .. p_days - 1 LOOP
    v_from := date_trunc('day', p_from) + make_interval(days => v_day);
    v_name := p_table || '_p' || to_char(v_from, 'YYYYMMDD');
    CONTINUE WHEN to_regclass(format('public.%I', v_name)) IS NOT NULL;
    EXECUTE format('LOCK TABLE ONLY public.%I IN SHARE ROW EXCLUSIVE MODE', p_table);
    CONTINUE WHEN to_regclass(format('public.%I', v_name)) IS NOT NULL;
    IF v_default IS NOT NULL THEN
      EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', v_default::regclass);
    END IF;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS'
      ' INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION)', v_name, p_table);
    IF v_default IS NOT NULL THEN
      EXECUTE format('WITH moved AS (DELETE FROM %s WHERE partition_at >= $1 AND partition_at < $2 RETURNING *)'
        ' INSERT INTO public.%I SELECT * FROM moved', v_default::regclass, v_name)
        USING v_from, v_from + interval '1 day';
    END IF;
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
      p_table, v_name, v_from, v_from + interval '1 day');
    v_made := v_made + 1;
  END LOOP;
  RETURN v_made;
END $function$
;
