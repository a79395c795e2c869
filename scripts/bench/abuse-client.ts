import { setPriority } from 'node:os';
import { createSecureContext, type SecureContext } from 'node:tls';
import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import { createSystemClock, readBootId } from '../../lib/clock.js';
import { createSystemRandom } from '../../lib/random.js';
import type { Report } from '../../protocol/heartbeat-messages.js';
import { PEER_LIMITS } from '../../server/agent-channel/peer-limits.js';
import type { BenchIdentity } from './bench-enrollment.js';
import { createBenchAgent, type BenchAgent } from './bench-agent.js';
import {
  isAnswer,
  openLoadChannel,
  openLoadConnection,
  openPrepared,
  type LoadConnection,
  type LoadTarget,
} from './load-connection.js';

/** A process of its own that plays one computer which respects no limit and no pause. */

export type AbuseKind = 'events' | 'channel-events' | 'connections';

export interface AbuseRequest {
  readonly kind: AbuseKind;
  readonly identity: BenchIdentity;
  readonly rootPem: string;
  readonly target: LoadTarget;
  readonly milliseconds: number;
}

/** Exchanges that were answered 200, and all others. */
export interface AbuseOutcome {
  readonly accepted: number;
  readonly refused: number;
}

const EVENTS_PER_SECOND = 1000;
const LOWEST_PRIORITY = 19;
const EVENT_TICK_MS = 250;
const CONNECTIONS = 100;
const CONNECTION_TICK_MS = 1000;
const EVENTS_PER_TICK = (EVENTS_PER_SECOND * EVENT_TICK_MS) / 1000;
const MESSAGE = 'an event of a computer that has too much to say, '.repeat(4);

const clock = createSystemClock();
const random = createSystemRandom();
let eventSequence = 0;
let agent: BenchAgent | undefined;

interface Abuser {
  readonly request: AbuseRequest;
  readonly context: SecureContext;
  readonly agent: BenchAgent;
  readonly until: number;
  accepted: number;
  refused: number;
}

async function abuse(request: AbuseRequest): Promise<AbuseOutcome> {
  const { identity, rootPem, milliseconds } = request;
  const { computerId, keyPem, certPem } = identity;
  agent ??= createBenchAgent({ clock, random, bootId: readBootId(), computerId, index: 0 });
  const context = createSecureContext({ ...TLS_OPTIONS, key: keyPem, cert: certPem, ca: rootPem });
  const until = clock.monotonic() + milliseconds;
  const abuser: Abuser = { request, context, agent, until, accepted: 0, refused: 0 };
  const width = request.kind === 'connections' ? CONNECTIONS : 1;
  await Promise.all(Array.from({ length: width }, () => keepOn(abuser)));
  const { accepted, refused } = abuser;
  return { accepted, refused };
}

/** One connection, opened again whenever it is cut. */
async function keepOn(abuser: Abuser): Promise<void> {
  const { kind } = abuser.request;
  const tickMs = kind === 'connections' ? CONNECTION_TICK_MS : EVENT_TICK_MS;
  let connection: LoadConnection | undefined;
  while (clock.monotonic() < abuser.until) {
    const next = clock.monotonic() + tickMs;
    try {
      connection ??= await openFor(abuser);
      await (kind === 'connections' ? sendReport(abuser, connection) : sendEvents(abuser, connection));
      abuser.accepted += 1;
    } catch (error) {
      abuser.refused += 1;
      if (!isAnswer(error)) {
        connection?.close();
        connection = undefined;
      }
    }
    await clock.sleep(next - clock.monotonic());
  }
  connection?.close();
}

async function openFor(abuser: Abuser): Promise<LoadConnection> {
  const { kind, target } = abuser.request;
  const open = kind === 'channel-events' ? openLoadChannel : openLoadConnection;
  if (kind === 'connections') return open(abuser.context, target);
  return openPrepared(
    () => open(abuser.context, target),
    (connection) => spendBurst(abuser, connection),
  );
}

/** What the manager takes of one computer at once is taken at the beginning, so that its limit is what is met. */
async function spendBurst(abuser: Abuser, connection: LoadConnection): Promise<void> {
  try {
    for (let spent = 0; spent < PEER_LIMITS.eventBurst; spent += EVENTS_PER_TICK) await sendEvents(abuser, connection);
  } catch (error) {
    if (!isAnswer(error)) throw error;
  }
}

/** A refused report's events are sent again. */
async function sendEvents({ agent: sender }: Abuser, connection: LoadConnection): Promise<void> {
  const occurredAt = clock.wall();
  const events = Array.from({ length: EVENTS_PER_TICK }, (_, index) => ({
    sequence: eventSequence + index + 1,
    occurredAt,
    kind: 'log',
    severity: 'info' as const,
    message: MESSAGE,
  }));
  const report = JSON.parse(sender.nextReport()) as Report;
  const lanes: Report['lanes'] = [{ lane: 'log', epoch: 'bench', events }];
  sender.follow(await connection.exchange(JSON.stringify({ ...report, lanes })));
  eventSequence += EVENTS_PER_TICK;
}

/** Of a hundred connections at once the orders come in any order: nobody follows them. */
async function sendReport({ agent: sender }: Abuser, connection: LoadConnection): Promise<void> {
  await connection.exchange(sender.nextReport());
}

// What is measured is the manager, not who shares its processors.
setPriority(LOWEST_PRIORITY);

process.on('message', (request: AbuseRequest) => {
  abuse(request)
    .then((outcome) => process.send?.(outcome))
    .catch(() => process.exit(1));
});
process.on('disconnect', () => process.exit(0));
