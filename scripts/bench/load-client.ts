import { createSecureContext, type SecureContext } from 'node:tls';
import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import { createSystemClock, readBootId, type Clock } from '../../lib/clock.js';
import { createSystemRandom } from '../../lib/random.js';
import type { BenchFleet } from './bench-enrollment.js';
import { createBenchAgent, type BenchAgent } from './bench-agent.js';
import { openLoadConnection, type LoadConnection, type LoadTarget } from './load-connection.js';
import type { LoadReply, LoadRequest, LoadSlice, Side, SliceOutcome } from './load-messages.js';

/** A process of its own that plays the agents, so that its work is not counted as the manager's. */

interface Member {
  readonly agent: BenchAgent;
  readonly context: SecureContext;
  readonly kept: Partial<Record<Side, LoadConnection>>;
}

interface World {
  readonly members: readonly Member[];
  readonly targets: Map<Side, LoadTarget>;
}

const SAMPLES = 5;
const PAUSE_AFTER_ERROR_MS = 50;

const clock = createSystemClock();
let world: World = { members: [], targets: new Map() };

async function handle(request: LoadRequest): Promise<SliceOutcome | null> {
  if (request.kind === 'run') return runSlice(world, request, clock);
  if (request.kind === 'aim') world.targets.set(request.side, request.target);
  else world = prepare(request.fleet);
  return null;
}

function prepare(fleet: BenchFleet): World {
  const random = createSystemRandom();
  const bootId = readBootId();
  const members = fleet.identities.map(({ computerId, keyPem, certPem }, index) => ({
    agent: createBenchAgent({ clock, random, bootId, computerId, index }),
    context: createSecureContext({ ...TLS_OPTIONS, key: keyPem, cert: certPem, ca: fleet.rootPem }),
    kept: {},
  }));
  return { members, targets: new Map() };
}

interface Counting {
  readonly latenciesMs: number[];
  readonly samples: string[];
  errors: number;
  reportBytes: number;
  answerBytes: number;
}

async function runSlice({ members, targets }: World, slice: LoadSlice, { monotonic }: Clock): Promise<SliceOutcome> {
  const target = targets.get(slice.side);
  if (!target) throw new Error(`There is no ${slice.side} to ask`);
  const counting: Counting = { latenciesMs: [], samples: [], errors: 0, reportBytes: 0, answerBytes: 0 };
  const free = [...members];
  if (slice.carrier === 'kept') await connectAll(members, slice.side, target);
  const begun = monotonic();
  const work = async (): Promise<void> => {
    while (monotonic() - begun < slice.milliseconds) {
      const member = free.shift();
      if (!member) return;
      await exchangeOnce(member, { slice, target, counting });
      free.push(member);
    }
  };
  await Promise.all(Array.from({ length: Math.min(slice.width, members.length) }, work));
  return { ...counting, elapsedMs: monotonic() - begun, latenciesMs: Float64Array.from(counting.latenciesMs) };
}

async function connectAll(members: readonly Member[], side: Side, target: LoadTarget): Promise<void> {
  for (const member of members) member.kept[side] ??= await openLoadConnection(member.context, target);
}

interface Exchanging {
  readonly slice: LoadSlice;
  readonly target: LoadTarget;
  readonly counting: Counting;
}

async function exchangeOnce(member: Member, { slice, target, counting }: Exchanging): Promise<void> {
  const body = member.agent.nextReport();
  const begun = clock.monotonic();
  try {
    const answer = await (slice.carrier === 'kept'
      ? onKept(member, slice.side, { target, body })
      : onNew(member, target, body));
    counting.latenciesMs.push(clock.monotonic() - begun);
    if (slice.side === 'manager') member.agent.follow(answer);
    counting.reportBytes = body.length;
    counting.answerBytes = answer.length;
  } catch (error) {
    counting.errors += 1;
    if (counting.samples.length < SAMPLES) counting.samples.push(String(error));
    await clock.sleep(PAUSE_AFTER_ERROR_MS);
  }
}

async function onKept(
  member: Member,
  side: Side,
  { target, body }: { readonly target: LoadTarget; readonly body: string },
): Promise<string> {
  const connection = member.kept[side] ?? (await openLoadConnection(member.context, target));
  delete member.kept[side];
  const answer = await connection.exchange(body);
  member.kept[side] = connection;
  return answer;
}

async function onNew({ context }: Member, target: LoadTarget, body: string): Promise<string> {
  const connection = await openLoadConnection(context, target);
  try {
    return await connection.exchange(body);
  } finally {
    connection.close();
  }
}

process.on('message', (request: LoadRequest) => {
  handle(request)
    .then((outcome): LoadReply => ({ ok: true, outcome }))
    .catch((error: unknown): LoadReply => ({ ok: false, error: String(error) }))
    .then((reply) => process.send?.(reply))
    .catch(() => process.exit(1));
});
process.on('disconnect', () => process.exit(0));
