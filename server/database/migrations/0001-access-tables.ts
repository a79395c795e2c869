export const ACCESS_TABLES = `
CREATE TABLE enrollment_tokens (
  id uuid PRIMARY KEY,
  token_hash bytea NOT NULL UNIQUE,
  policy_id uuid NOT NULL REFERENCES policies (id),
  kind text NOT NULL CHECK (kind IN ('agent', 'appliance')),
  labels jsonb NOT NULL,
  uses integer NOT NULL,
  used integer NOT NULL DEFAULT 0,
  expires_at timestamptz NOT NULL,
  rate_per_second double precision,
  computer_id uuid REFERENCES computers (id) ON DELETE CASCADE,
  created_at timestamptz NOT NULL,
  created_by text NOT NULL
);
CREATE INDEX enrollment_tokens_created ON enrollment_tokens (created_at, id);

-- Enrollment is idempotent by (token, key digest).
CREATE TABLE enrollments (
  token_id uuid NOT NULL,
  key_digest bytea NOT NULL,
  computer_id uuid NOT NULL,
  certificate_serial text NOT NULL,
  enrolled_at timestamptz NOT NULL,
  PRIMARY KEY (token_id, key_digest)
);

CREATE TABLE certificates (
  serial text PRIMARY KEY,
  computer_id uuid NOT NULL,
  key_digest bytea NOT NULL,
  pem text NOT NULL,
  not_before timestamptz NOT NULL,
  not_after timestamptz NOT NULL,
  issued_at timestamptz NOT NULL,
  revoked_at timestamptz,
  revoked_reason text
);
CREATE INDEX certificates_computer ON certificates (computer_id, serial);

CREATE TABLE users (
  id uuid PRIMARY KEY,
  name text NOT NULL UNIQUE,
  password_hash text NOT NULL,
  role text NOT NULL CHECK (role IN ('administrator', 'operator', 'auditor')),
  created_at timestamptz NOT NULL,
  password_changed_at timestamptz NOT NULL
);

CREATE TABLE sessions (
  id uuid PRIMARY KEY,
  secret_hash bytea NOT NULL UNIQUE,
  csrf_hash bytea NOT NULL,
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at timestamptz NOT NULL,
  used_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE api_keys (
  id uuid PRIMARY KEY,
  name text NOT NULL UNIQUE,
  key_hash bytea NOT NULL UNIQUE,
  role text NOT NULL CHECK (role IN ('administrator', 'operator', 'auditor')),
  created_at timestamptz NOT NULL,
  created_by text NOT NULL,
  expires_at timestamptz
);

-- The application role may only insert into and read the audit tables.
CREATE TABLE audit_log (
  id uuid PRIMARY KEY,
  at timestamptz NOT NULL,
  actor_id text NOT NULL,
  actor_name text NOT NULL,
  source_address text,
  action text NOT NULL,
  subject_type text NOT NULL,
  subject_id text,
  before jsonb,
  after jsonb,
  transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX audit_log_at ON audit_log (at, id);
CREATE INDEX audit_log_transaction ON audit_log (transaction_id, id);

CREATE TABLE audit_seals (
  number bigint PRIMARY KEY,
  audit_id uuid NOT NULL UNIQUE,
  previous_hash bytea NOT NULL,
  hash bytea NOT NULL,
  sealed_at timestamptz NOT NULL
);
`;
