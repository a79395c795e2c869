import { expect } from 'chai';
import fc from 'fast-check';
import { LANE_LIMITS, type DialLane } from '../../../server/dials/dial-rules.js';
import { DialSchedule } from '../../../server/dials/dial-schedule.js';
import { SHARD_COUNT } from '../../../server/shards/shard-rules.js';

const idOf = (index: number) =>
  `${((index * 2_654_435_761) % 2 ** 32).toString(16).padStart(8, '0')}-0000-4000-8000-${String(index).padStart(12, '0')}`;

function newSchedule(): DialSchedule {
  const schedule = new DialSchedule();
  for (let shard = 0; shard < SHARD_COUNT; shard += 1) schedule.addShard(shard);
  return schedule;
}

const fast = (at: number) => ({ at, lane: 'fast' as const, marginMs: 0 });
const taken = (schedule: DialSchedule, at: number, lane: DialLane = 'fast') =>
  schedule.take(at, lane, 1000).map(({ computerId }) => computerId);

describe('The schedule of dials', () => {
  const id = idOf(1);

  it('gives who is due, once', () => {
    const schedule = newSchedule();
    schedule.place(id, fast(100));
    expect(taken(schedule, 99)).to.deep.equal([]);
    expect(taken(schedule, 100)).to.deep.equal([id]);
    expect(taken(schedule, 1000)).to.deep.equal([]);
    schedule.settle(id, fast(200));
    expect(schedule.earliest('fast')).to.equal(200);
  });

  it('moves with what is heard, later and earlier', () => {
    const schedule = newSchedule();
    schedule.place(id, { ...fast(100), marginMs: 10 });
    schedule.hear(id, 500);
    expect(taken(schedule, 509)).to.deep.equal([]);
    schedule.hear(id, 300);
    expect(taken(schedule, 310)).to.deep.equal([id]);
  });

  it('counts what is heard and asked while somebody is in hand', () => {
    const schedule = newSchedule();
    schedule.place(id, fast(100));
    taken(schedule, 100);
    schedule.hear(id, 700);
    schedule.settle(id, { ...fast(101), notBefore: 1101 });
    expect(schedule.earliest('fast')).to.equal(1101);
    taken(schedule, 1101);
    schedule.ask(id, 1102);
    schedule.settle(id, { ...fast(9000), notBefore: 2000 });
    expect(schedule.take(2000, 'fast', 1)).to.deep.equal([{ computerId: id, isAsked: true }]);
    schedule.ask(id, 2001);
    schedule.forget(id);
    expect(taken(schedule, 2001)).to.deep.equal([id]);
    schedule.forget(id);
    expect(schedule.size).to.equal(0);
  });

  it('keeps an edit that comes while somebody is in hand, whatever that dial brings', () => {
    const schedule = newSchedule();
    schedule.place(id, { ...fast(100), marginMs: 15_000 });
    taken(schedule, 15_100);
    schedule.hasten(id, 15_200);
    schedule.hasten(id, 15_300);
    schedule.hear(id, 75_000);
    schedule.settle(id, { ...fast(15_400), marginMs: 15_000, notBefore: 16_400 });
    expect(schedule.earliest('fast')).to.equal(16_400);
    taken(schedule, 16_400);
    schedule.settle(id, { ...fast(80_000), marginMs: 15_000 });
    expect(schedule.earliest('fast')).to.equal(80_000);
  });

  it('keeps the lanes apart', () => {
    const schedule = newSchedule();
    schedule.place(id, fast(100));
    schedule.place(id, { ...fast(100), lane: 'slow' });
    expect(taken(schedule, 100)).to.deep.equal([]);
    expect(taken(schedule, 100, 'slow')).to.deep.equal([id]);
  });

  it('knows only the computers of its shards', () => {
    const schedule = new DialSchedule();
    schedule.ask(id, 0);
    expect(schedule.size).to.equal(0);
    expect(schedule.owns(id)).to.equal(false);
  });

  it('agrees with a plain list on who is due when', () => {
    const step = fc.record({
      act: fc.constantFrom(...ACTS),
      who: fc.integer({ min: 0, max: 5 }),
      at: fc.integer({ min: 0, max: 50 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const [schedule, model] = [newSchedule(), new Model()];
        for (const { act, who, at } of steps) {
          const one = idOf(who);
          if (act === 'place') schedule.place(one, fast(at));
          else if (act !== 'take') schedule[act](one, at);
          if (act !== 'take') model[act](one, at);
          else {
            const due = model.take(at);
            expect(taken(schedule, at).sort()).to.deep.equal(due);
            for (const key of due) schedule.settle(key, fast(at + 7));
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it('dials 1,500 of 2,000 in time, never over 200 at once, when 500 are tarpits', function () {
    this.timeout(20_000);
    const { lateness, mostOpen, longestGap } = simulate({ agents: 2000, tarpits: 500, intervalMs: 60_000 });
    expect(mostOpen).to.be.at.most(200);
    expect(lateness).to.be.below(6000);
    expect(longestGap).to.be.below(66_000);
  });

  it('is not held up by tarpits, whatever their share', function () {
    this.timeout(60_000);
    const shares = fc.record({ agents: fc.integer({ min: 1, max: 400 }), percent: fc.integer({ min: 0, max: 100 }) });
    fc.assert(
      fc.property(shares, ({ agents, percent }) => {
        const tarpits = Math.floor((agents * percent) / 100);
        const { lateness, mostOpen } = simulate({ agents, tarpits, intervalMs: 30_000 });
        expect(mostOpen).to.be.at.most(200);
        expect(lateness).to.be.below(3000);
      }),
      { numRuns: 20 },
    );
  });
});

const ACTS = ['place', 'hear', 'ask', 'hasten', 'take'] as const;

/** What the schedule promises, as a plain list. */
class Model {
  readonly #entries = new Map<string, { at: number; isAsked: boolean }>();

  place(id: string, at: number): void {
    this.#entries.set(id, { at, isAsked: this.#entries.get(id)?.isAsked ?? false });
  }

  hear(id: string, at: number): void {
    const known = this.#entries.get(id);
    if (known && !known.isAsked) known.at = at;
  }

  ask(id: string, at: number): void {
    this.#entries.set(id, { at, isAsked: true });
  }

  hasten(id: string, at: number): void {
    const known = this.#entries.get(id);
    this.#entries.set(id, { isAsked: known?.isAsked ?? false, at: Math.min(at, known?.at ?? at) });
  }

  take(at: number): string[] {
    const due = [...this.#entries].filter(([, entry]) => entry.at <= at).map(([id]) => id);
    for (const id of due) this.#entries.set(id, { at: at + 7, isAsked: false });
    return due.sort();
  }
}

interface Fleet {
  readonly agents: number;
  readonly tarpits: number;
  readonly intervalMs: number;
}

const TARPIT_MS = 10_000;
const ANSWER_MS = 50;
const STEP_MS = 10;

interface OpenDial {
  readonly id: string;
  readonly until: number;
  readonly dueAt: number;
}

/** A fleet whose phases are spread evenly, dialled by the lanes. */
class Simulation {
  readonly schedule = newSchedule();
  readonly #fleet: Fleet;
  readonly #dueAt = new Map<string, number>();
  readonly #tarpits = new Set<string>();
  readonly #lastBegun = new Map<string, number>();
  readonly #open: Record<DialLane, OpenDial[]> = { fast: [], slow: [] };
  mostOpen = 0;
  lateness = 0;
  longestGap = 0;

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
    const { agents, tarpits, intervalMs } = fleet;
    for (let index = 0; index < agents; index += 1) {
      const [id, at] = [idOf(index), Math.floor((index * intervalMs) / agents)];
      this.#dueAt.set(id, at);
      if ((index * tarpits) % agents < tarpits) this.#tarpits.add(id);
      this.schedule.place(id, fast(at));
    }
  }

  turn(now: number): void {
    for (const lane of ['fast', 'slow'] as const) {
      for (const dial of this.#open[lane].filter(({ until }) => until <= now)) this.#end(dial, now);
      this.#open[lane] = this.#open[lane].filter(({ until }) => until > now);
      const free = LANE_LIMITS[lane] - this.#open[lane].length;
      for (const { computerId } of this.schedule.take(now, lane, free)) this.#begin(computerId, lane, now);
    }
    this.mostOpen = Math.max(this.mostOpen, this.#open.fast.length + this.#open.slow.length);
  }

  #begin(id: string, lane: DialLane, now: number): void {
    const dueAt = this.#dueAt.get(id) ?? 0;
    const isTarpit = this.#tarpits.has(id);
    this.#open[lane].push({ id, dueAt, until: now + (isTarpit ? TARPIT_MS : ANSWER_MS) });
    if (isTarpit) return;
    this.lateness = Math.max(this.lateness, now - dueAt);
    this.longestGap = Math.max(this.longestGap, now - (this.#lastBegun.get(id) ?? now));
    this.#lastBegun.set(id, now);
  }

  #end({ id, dueAt }: OpenDial, now: number): void {
    const { intervalMs } = this.#fleet;
    const isTarpit = this.#tarpits.has(id);
    const at = isTarpit ? now + intervalMs / 2 : dueAt + intervalMs;
    this.#dueAt.set(id, at);
    this.schedule.settle(id, { at, lane: isTarpit ? 'slow' : 'fast', marginMs: 0 });
  }
}

function simulate(fleet: Fleet): Simulation {
  const simulation = new Simulation(fleet);
  for (let now = 0; now < 5 * fleet.intervalMs; now += STEP_MS) simulation.turn(now);
  return simulation;
}
