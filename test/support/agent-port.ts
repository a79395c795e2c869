import { X509Certificate, createHash, randomUUID } from 'node:crypto';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import type pg from 'pg';
import { openAuthority, type CertificateAuthority } from '../../certs/certificate-authority.js';
import { createSigningRequest } from '../../certs/csr.js';
import { openManagerIdentity } from '../../certs/manager-identity.js';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import { formatEnrollmentToken, hashEnrollmentSecret } from '../../protocol/enrollment-token.js';
import { createUploads } from '../../server/agent-commands/index.js';
import { createAuditLog } from '../../server/audit/index.js';
import { composeAgentChannel, type AgentChannelDeps } from '../../server/agent-channel/compose-agent-channel.js';
import type { AgentServer } from '../../server/agent-channel/agent-server.js';
import { createCertificateRepository } from '../../server/certificates/certificate-repository.js';
import { createLateRenewals } from '../../server/certificates/late-renewals.js';
import { createReportRenewals } from '../../server/certificates/report-renewals.js';
import { createDatabaseBreaker } from '../../server/database/database-breaker.js';
import { createPoolUnitOfWork } from '../../server/database/in-transaction.js';
import { sqlOfClient } from '../../server/database/sql.js';
import { createEnrollLimits, type EnrollLimitsOptions } from '../../server/enrollment/enroll-limits.js';
import { createEnrollRepository } from '../../server/enrollment/enroll-repository.js';
import { createEnrollService, type EnrollService } from '../../server/enrollment/enroll-service.js';
import { createEventWriter } from '../../server/events/event-writer.js';
import { createIdentityTokens } from '../../server/heartbeats/identity-token.js';
import { createMismatchRecorder } from '../../server/heartbeats/identity-mismatch.js';
import { newKey, spkiOf } from './forged-certificates.js';
import { createIngestWorld, handClock, POLICY_ID, type IngestWorld } from './ingest-world.js';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Record<string, unknown>;
}

/** A client certificate with its key; none: an agent that is not enrolled. */
export interface ClientIdentity {
  readonly cert: string;
  readonly key: string;
}

export interface AgentPort {
  readonly world: IngestWorld;
  readonly authority: CertificateAuthority;
  /** The folder of the authority's keys. */
  readonly authorityDir: string;
  readonly enrollment: EnrollService;
  readonly server: AgentServer;
  identityOf(computerId: string): ClientIdentity;
  /** Stores a token and answers its text. */
  addToken(changes?: {
    uses?: number;
    expiresInMs?: number;
    computerId?: string;
    ratePerSecond?: number;
  }): Promise<string>;
  post(path: string, body: string | Buffer | object, options?: PostOptions): Promise<Answer>;
  /** Writes bytes to a TLS connection and reads until it ends. */
  raw(text: string, identity?: ClientIdentity): Promise<string>;
  openSocket(identity?: ClientIdentity, session?: Buffer): Promise<TLSSocket>;
  stop(): Promise<void>;
}

export interface PostOptions {
  readonly identity?: ClientIdentity;
  readonly headers?: Readonly<Record<string, string>>;
  readonly method?: string;
}

/** The real agent port over real TLS on loopback, with the real ingest path and enrollment behind it. */
export async function startAgentPort(
  pool: pg.Pool,
  limits: EnrollLimitsOptions = {},
  peers: Pick<AgentChannelDeps, 'limits' | 'timeouts' | 'noteRefusal' | 'channels'> = {},
): Promise<AgentPort> {
  const dir = mkdtempSync(join(tmpdir(), 'wardbeat-authority-'));
  const random = createSystemRandom();
  const clock = handClock(Math.floor(Date.now() / 1000) * 1000);
  const log = createLog({ name: 'test', level: 'silent' });
  const trusted = { wall: () => clock.trustedTime() };
  const authority = await openAuthority({ dir, trustDomain: 'test.wardbeat', clock: trusted, random });
  const identity = await openManagerIdentity({ dir, authority, node: 'node-1', hosts: ['localhost'], clock });
  const certificates = createCertificateRepository();
  const events = createEventWriter({ random, fleetClock: clock });
  const renewals = createReportRenewals({ authority, certificates, events, fleetClock: clock, log });
  const world = createIngestWorld(pool, { clock, renewals });
  const inTransaction = createPoolUnitOfWork(pool, { clock, random });
  const breaker = createDatabaseBreaker(() => clock.monotonic());
  const { settings } = world;
  const lateDeps = { authority, inTransaction, certificates, settings, events, breaker, fleetClock: clock };
  const { renew: renewLate } = createLateRenewals(lateDeps);
  const audit = createAuditLog({ clock, random });
  const enrollment = createEnrollService({
    authority,
    inTransaction,
    audit,
    random,
    log,
    repository: createEnrollRepository(),
    certificates,
    settings,
    limits: createEnrollLimits(limits),
    tokens: createIdentityTokens(Buffer.alloc(32, 7)),
    breaker,
    hints: { reconsider: (ids) => void world.reconsidered.push(...ids) },
    fleetClock: clock,
    metrics: world.metrics,
  });
  const server = composeAgentChannel({
    authority,
    identity,
    random,
    log,
    fleetClock: clock,
    listening: { noteDeaf: (cause) => void world.deaf.push(cause) },
    listener: 'node-1',
    host: '127.0.0.1',
    port: 0,
    submit: (exchange) => world.batcher.submit(exchange),
    refusalOf: world.refusalOf,
    renewLate,
    enroll: (request, address) => enrollment.enroll(request, address),
    upload: createUploads({ inTransaction: (work) => inTransaction((client) => work(sqlOfClient(client))), clock }),
    noteMismatch: createMismatchRecorder({
      inTransaction,
      audit,
      events,
      metrics: world.metrics,
    }),
    noteThrottled: () => void (world.metrics.throttled += 1),
    stopGraceMs: 500,
    ...peers,
  });
  await server.start();
  const tls = (who?: ClientIdentity) => ({
    host: '127.0.0.1',
    port: server.port(),
    ca: authority.rootPem,
    servername: 'localhost',
    ...who,
  });
  const openSocket = (who?: ClientIdentity, session?: Buffer) =>
    new Promise<TLSSocket>((resolve, reject) => {
      const socket = connect({ ...tls(who), ...(session ? { session } : {}) }, () => resolve(socket));
      socket.once('error', reject);
    });
  return {
    world,
    authority,
    authorityDir: dir,
    enrollment,
    server,
    openSocket,
    identityOf: (computerId) => issueIdentity(authority, computerId),
    addToken: (changes) => addToken(pool, { authority, now: clock.trustedTime(), ...changes }),
    post: (path, body, options = {}) => post({ ...tls(options.identity), path }, body, options),
    async raw(text, who) {
      const socket = await openSocket(who);
      return new Promise((resolve, reject) => {
        let received = '';
        socket.setEncoding('latin1').on('data', (chunk) => (received += String(chunk)));
        socket.on('close', () => resolve(received)).on('error', reject);
        socket.write(text);
      });
    },
    async stop() {
      await world.batcher.drain();
      await server.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export function issueIdentity(authority: CertificateAuthority, computerId: string): ClientIdentity {
  const key = newKey();
  const { pem } = authority.issueComputer({ computerId, spkiDer: spkiOf(key), lifetimeDays: 30 });
  return { cert: pem + authority.intermediatePem, key: key.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

interface TokenChanges {
  readonly authority: CertificateAuthority;
  readonly now: number;
  readonly uses?: number;
  readonly expiresInMs?: number;
  readonly computerId?: string;
  readonly ratePerSecond?: number;
}

async function addToken(pool: pg.Pool, { authority, now, ...changes }: TokenChanges): Promise<string> {
  const secret = createHash('sha256').update(randomUUID()).digest('hex');
  await pool.query(
    `INSERT INTO enrollment_tokens (id, token_hash, policy_id, kind, labels, uses, expires_at, rate_per_second, computer_id, created_at, created_by)
     VALUES ($1, $2, $3, 'agent', '{"site":"lab"}', $4, $5, $6, $7, to_timestamp(0), 'ada')`,
    [
      randomUUID(),
      hashEnrollmentSecret(secret),
      POLICY_ID,
      changes.uses ?? 1,
      new Date(now + (changes.expiresInMs ?? 3_600_000)),
      changes.ratePerSecond ?? null,
      changes.computerId ?? null,
    ],
  );
  return formatEnrollmentToken({ secret, caFingerprint: authority.rootFingerprint });
}

export function enrollBody(token: string, key = newKey(), name = 'web1') {
  return {
    protocolVersion: 1,
    token,
    csr: createSigningRequest(key),
    name,
    agentVersion: '0.1.0',
    platform: 'linux-x64',
  };
}

export function computerOf(certificatePem: string): string {
  return /computer\/([0-9a-f-]{36})/.exec(new X509Certificate(certificatePem).subjectAltName ?? '')?.[1] ?? '';
}

function post(target: RequestOptions, body: string | Buffer | object, options: PostOptions): Promise<Answer> {
  const bytes =
    typeof body === 'string' || Buffer.isBuffer(body) ? Buffer.from(body as string) : Buffer.from(JSON.stringify(body));
  const length = options.headers?.['Transfer-Encoding'] ? {} : { 'Content-Length': bytes.length };
  const headers = { 'Content-Type': 'application/json', ...length, ...options.headers };
  return new Promise((resolve, reject) => {
    const request = httpsRequest({ ...target, method: options.method ?? 'POST', headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const parsed = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: parsed });
      });
    });
    request.on('error', reject);
    request.end(bytes);
  });
}
