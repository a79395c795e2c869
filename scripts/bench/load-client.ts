import { createSecureContext, type SecureContext } from 'node:tls';
import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import { createSystemClock, readBootId, type Clock } from '../../lib/clock.js';
import { createSystemRandom } from '../../lib/random.js';
import type { BenchFleet } from './bench-enrollment.js';
import { createBenchAgent, type BenchAgent } from './bench-agent.js';
import {
  openLoadChannel,
  openLoadConnection,
  Refused,
  type LoadChannel,
  type LoadConnection,
  type LoadTarget,
} from './load-connection.js';
import type { Carrier, LoadReply, LoadRequest, LoadSlice, Side, SliceOutcome } from './load-messages.js';

/** A process of its own that plays the agents, so that its work is not counted as the manager's. */

interface Member {
  readonly agent: BenchAgent;
  readonly context: SecureContext;
  readonly kept: Partial<Record<`${Exclude<Carrier, 'new'>} ${Side}`, LoadConnection>>;
  readonly held: Partial<Record<Side, LoadChannel>>;
  /** Wakes that came while an exchange was in flight. */
  isWoken: boolean;
  isReporting: boolean;
  /** When it took the settings that it runs on, Unix milliseconds. */
  appliedAt: number;
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
  switch (request.kind) {
    case 'run':
      return runSlice(world, request, clock);
    case 'await-interval':
      return awaitInterval(world, request);
    case 'hold':
      await hold(world, request);
      return null;
    case 'return':
      return returnAll(world, request);
    case 'release':
      release(world, request.side);
      return null;
    case 'aim':
      world.targets.set(request.side, request.target);
      return null;
    case 'prepare':
      world = prepare(request.fleet);
      return null;
  }
}

function prepare(fleet: BenchFleet): World {
  const random = createSystemRandom();
  const bootId = readBootId();
  const members = fleet.identities.map(({ computerId, keyPem, certPem }, index) => ({
    agent: createBenchAgent({ clock, random, bootId, computerId, index }),
    context: createSecureContext({ ...TLS_OPTIONS, key: keyPem, cert: certPem, ca: fleet.rootPem }),
    kept: {},
    held: {},
    isWoken: false,
    isReporting: false,
    appliedAt: 0,
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
  const { carrier, side } = slice;
  if (carrier !== 'new') await connectAll(members, { carrier, side, target });
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

interface KeptKey {
  readonly carrier: Exclude<Carrier, 'new'>;
  readonly side: Side;
  readonly target: LoadTarget;
}

const OPENING_AT_ONCE = 16;

/** As real agents do: each connection begins with a report. The manager closes those that are silent while others are opened. */
async function connectAll(members: readonly Member[], key: KeptKey): Promise<void> {
  const waiting = members.filter(({ kept }) => !kept[`${key.carrier} ${key.side}`]);
  await openSome(waiting, async (member) => {
    const answer = await onKept(member, key, member.agent.nextReport());
    if (key.side === 'manager') member.agent.follow(answer);
  });
}

async function openSome(members: readonly Member[], open: (member: Member) => Promise<void>): Promise<void> {
  const waiting = [...members];
  const work = async (): Promise<void> => {
    for (let member = waiting.shift(); member; member = waiting.shift()) await open(member);
  };
  await Promise.all(Array.from({ length: OPENING_AT_ONCE }, work));
}

function openKept({ context }: Member, { carrier, target }: KeptKey): Promise<LoadConnection> {
  return carrier === 'ws' ? openLoadChannel(context, target) : openLoadConnection(context, target);
}

/** As real agents do: each channel begins with a report, and each wake is followed by one. */
async function hold({ members, targets }: World, { side, count }: { side: Side; count: number }): Promise<void> {
  const target = targets.get(side);
  if (!target) throw new Error(`There is no ${side} to hold`);
  const waiting = members.slice(0, count).filter(({ held }) => !held[side]);
  await openSome(waiting, async (member) => {
    if (side === 'manager') await holdOne(member, target);
    else member.held[side] = await openLoadChannel(member.context, target);
  });
}

async function holdOne(member: Member, target: LoadTarget): Promise<void> {
  const channel = await openLoadChannel(member.context, target);
  member.held.manager = channel;
  channel.onWake(() => void report(member, channel));
  await report(member, channel);
}

const RETRY_MS = 1000;

async function returnAll(
  { members, targets }: World,
  { count, withinMs }: { readonly count: number; readonly withinMs: number },
): Promise<SliceOutcome> {
  const target = targets.get('manager');
  if (!target) throw new Error('There is no manager to return to');
  const begun = clock.monotonic();
  const latencies: number[] = [];
  const refusals = new Map<string, number>();
  const comeBack = async (member: Member): Promise<void> => {
    while (clock.monotonic() - begun < withinMs)
      try {
        await holdOne(member, target);
        latencies.push(clock.monotonic() - begun);
        return;
      } catch (error) {
        refusals.set(String(error), (refusals.get(String(error)) ?? 0) + 1);
        await clock.sleep((error instanceof Refused ? error.retryAfterMs : undefined) ?? RETRY_MS);
      }
  };
  const returning = members.slice(0, count);
  await Promise.all(returning.map(comeBack));
  return {
    elapsedMs: clock.monotonic() - begun,
    latenciesMs: Float64Array.from(latencies),
    errors: returning.length - latencies.length,
    samples: [...refusals].map(([text, times]) => `${times} attempts ended by ${text}`),
    reportBytes: 0,
    answerBytes: 0,
  };
}

async function report(member: Member, channel: LoadChannel): Promise<void> {
  const { agent } = member;
  member.isWoken = true;
  if (member.isReporting) return;
  member.isReporting = true;
  try {
    while (member.isWoken || agent.hasNews) {
      member.isWoken = false;
      const before = agent.intervalSeconds;
      agent.follow(await channel.exchange(agent.nextReport()));
      if (agent.intervalSeconds !== before) member.appliedAt = clock.wall();
    }
  } finally {
    member.isReporting = false;
  }
}

const LOOK_MS = 20;

/** Counts whoever does not get there in time as an error. */
async function awaitInterval(
  { members }: World,
  asked: { readonly intervalSeconds: number; readonly since: number; readonly withinMs: number },
): Promise<SliceOutcome> {
  const held = members.filter((member) => member.held.manager);
  const isThere = ({ agent }: Member): boolean => agent.intervalSeconds === asked.intervalSeconds;
  const until = clock.monotonic() + asked.withinMs;
  while (!held.every(isThere) && clock.monotonic() < until) await clock.sleep(LOOK_MS);
  const there = held.filter(isThere);
  const latenciesMs = Float64Array.from(there.map(({ appliedAt }) => appliedAt - asked.since));
  const errors = held.length - there.length;
  const samples = errors > 0 ? [`${errors} of ${held.length} did not get the edit`] : [];
  const elapsedMs = Math.max(0, ...latenciesMs);
  return { elapsedMs, latenciesMs, errors, samples, reportBytes: 0, answerBytes: 0 };
}

function release({ members }: World, side: Side): void {
  for (const { held, kept } of members) {
    held[side]?.close();
    delete held[side];
    kept[`ws ${side}`]?.close();
    delete kept[`ws ${side}`];
  }
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
    const { carrier, side } = slice;
    const answer = await (carrier === 'new'
      ? onNew(member, target, body)
      : onKept(member, { carrier, side, target }, body));
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

async function onKept(member: Member, key: KeptKey, body: string): Promise<string> {
  const name = `${key.carrier} ${key.side}` as const;
  const connection = member.kept[name] ?? (await openKept(member, key));
  delete member.kept[name];
  const answer = await connection.exchange(body);
  member.kept[name] = connection;
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
