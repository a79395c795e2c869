import { expect } from 'chai';
import type { DiskRoom } from '../../agent/spool/disk-room.js';
import { PartlyStored, Spool, type AppendedRange, type CarriedRange } from '../../agent/spool/spool.js';
import { parsePlace } from '../../agent/spool/spool-keys.js';
import { recoveredEvent } from '../../agent/spool/spool-events.js';
import { createSystemClock } from '../../lib/clock.js';
import { createSystemRandom } from '../../lib/random.js';
import { LANES, type AgentEvent, type Lane } from '../../protocol/heartbeat-messages.js';
import { ModelStore } from './model-store.js';

const clock = createSystemClock();
const random = createSystemRandom();
const UNANSWERED = 's!unanswered';
const MESSAGE = 'm'.repeat(8000);

interface Sent {
  readonly lane: Lane;
  readonly epoch: string;
  readonly event: AgentEvent;
}

interface Gap {
  readonly lane: Lane;
  readonly epoch: string;
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/** An agent's spool, its disk and its manager, and what of all that was handed in each of them is answerable for. */
export class SpoolWorld {
  readonly #store = new ModelStore();
  #spool: Spool | undefined;
  #allowed = Number.POSITIVE_INFINITY;
  readonly #accepted = new Set<string>();
  readonly #received = new Map<string, Sent>();
  readonly #positions = new Map<string, number>();
  /** What reports brought that were not stored: a kill makes the agent forget it. */
  readonly #unknown = new Set<string>();
  #unanswered: readonly Batch[] | undefined;
  #isRestartDue = false;
  refused = 0;
  #toldRefused = 0;
  #restarts = 0;

  static async start(): Promise<SpoolWorld> {
    const world = new SpoolWorld();
    await world.#open();
    return world;
  }

  get spool(): Spool {
    if (!this.#spool) throw new Error('The agent does not run');
    return this.#spool;
  }

  async #open(): Promise<void> {
    const room: DiskRoom = { allowance: () => (this.#store.mood === 'well' ? this.#allowed : 0) };
    this.#isRestartDue = false;
    await this.#readUnanswered();
    const carried = rangesOf(this.#unanswered ?? []);
    this.#spool = await Spool.open({ store: this.#store, clock, random, maxMegabytes: 1, room, carried });
  }

  async #readUnanswered(): Promise<void> {
    const text = await this.#store.get(UNANSWERED);
    this.#unanswered = text === undefined ? undefined : (JSON.parse(text) as Batch[]);
  }

  async emit(lane: Lane, count: number): Promise<void> {
    const event = { kind: lane, severity: 'info', message: MESSAGE } as const;
    try {
      this.#accept(await this.spool.append(lane, event, count));
    } catch (error) {
      const stored = error instanceof PartlyStored ? this.#accept(error.stored) : 0;
      if (lane !== 'control') this.refused += count - stored;
    }
  }

  #accept({ lane, epoch, first, last }: AppendedRange): number {
    for (let sequence = first; sequence <= last; sequence += 1) this.#accepted.add(idOf({ lane, epoch, sequence }));
    return last - first + 1;
  }

  fill(mood: 'full' | 'torn'): void {
    this.#store.mood = mood;
  }

  /** Others take or give back a part of the disk. */
  allow(bytes: number): void {
    this.#allowed = bytes;
  }

  empty(): void {
    this.#store.mood = 'well';
    this.#allowed = Number.POSITIVE_INFINITY;
  }

  async #readAtLast(): Promise<void> {
    this.#isRestartDue = true;
    await this.#readUnanswered();
    this.spool.carry(rangesOf(this.#unanswered ?? []), { isStored: true });
  }

  /** As an agent does that has its disk at last. */
  async restartIfDue(): Promise<void> {
    if (this.#isRestartDue) await this.#open();
  }

  /** As the agent does before each report. */
  async mend(): Promise<void> {
    if (!this.spool.failure) return;
    try {
      const wasUnread = this.#store.isUnread;
      if (this.#store.failure) await this.spool.reopen();
      if (wasUnread) await this.#readAtLast();
      if (!this.spool.hasRoom()) return;
      await this.spool.tellRefused((refused) => recoveredEvent({ reason: 'full', since: 0, refused }));
    } catch {
      // The next look.
    }
  }

  /** `takes`: the share of each batch that the manager has room for; `answers`: whether the agent hears of it. */
  async heartbeat({ takes, answers }: { readonly takes: number; readonly answers: boolean }): Promise<void> {
    await this.mend();
    const old = this.#unanswered;
    const report = old ? { batches: old, isStored: true } : await this.#report();
    const positions = report.batches.map((batch) => this.#take(batch, takes, report.isStored));
    if (!answers) return;
    for (const { lane, epoch, position } of positions) await quietly(this.spool.acknowledge(lane, epoch, position));
    await quietly(this.spool.settle(report.batches.map(({ range }) => range)));
    await this.#forgetReport();
  }

  async #forgetReport(): Promise<void> {
    this.#unanswered = undefined;
    await quietly(this.#store.write([{ type: 'del', key: UNANSWERED }]));
  }

  async refuse(): Promise<void> {
    await this.mend();
    if (this.#unanswered) return;
    const { batches } = await this.#report();
    const ranges = batches.map(({ range }) => range).filter(({ lane }) => lane !== 'control');
    await quietly(this.spool.giveUp(ranges, 'request-invalid'));
    await quietly(this.spool.settle(batches.map(({ range }) => range)));
    await this.#forgetReport();
  }

  async #report(): Promise<{ readonly batches: readonly Batch[]; readonly isStored: boolean }> {
    const read = await this.spool.read({ maxEvents: 30, maxBytes: 1_250_000 });
    const batches = read.flatMap(({ lane, epoch, events }) => {
      const [first, last] = [events[0], events.at(-1)];
      if (!first || !last) return [];
      return [
        {
          lane,
          epoch,
          events,
          range: { lane, epoch, from: first.sequence, through: last.sequence, count: events.length },
        },
      ];
    });
    const isStored = await this.#store.write([{ type: 'put', key: UNANSWERED, value: JSON.stringify(batches) }]).then(
      () => true,
      () => false,
    );
    if (isStored) this.#unanswered = batches;
    this.spool.carry(
      batches.map(({ range }) => range),
      { isStored },
    );
    return { batches, isStored };
  }

  /** A prefix, each event once, by the position. */
  #take({ lane, epoch, events }: Batch, share: number, isKnown: boolean) {
    const key = `${lane} ${epoch}`;
    let position = this.#positions.get(key) ?? -1;
    for (const event of events.slice(0, Math.ceil(events.length * share))) {
      if (event.sequence <= position) continue;
      position = event.sequence;
      const id = idOf({ lane, epoch, sequence: position });
      expect(this.#received.has(id), `${id} twice`).to.equal(false);
      this.#received.set(id, { lane, epoch, event });
      if (!isKnown) this.#unknown.add(id);
    }
    this.#positions.set(key, position);
    return { lane, epoch, position };
  }

  /** Killed at once, and started again on the disk as it is. */
  async kill({ canRead }: { readonly canRead: boolean }): Promise<void> {
    this.#restarts += 1;
    this.#store.reopen(canRead);
    for (const id of this.#onDisk()) this.#accepted.add(id);
    await this.#open();
  }

  #onDisk(): Set<string> {
    const found = new Set<string>();
    for (const key of [...this.#store.content.keys()].filter((one) => one.startsWith('r!')).toSorted()) {
      const place = parsePlace(key);
      if (!place || place.lane === 'control') continue;
      const epoch = this.#store.content.get(`o!${key.split('!')[2] ?? ''}`);
      found.add(idOf({ ...place, epoch: epoch ?? '' }));
    }
    return found;
  }

  get gaps(): Gap[] {
    return [...this.#received.values()]
      .filter(({ event }) => event.kind === 'spool-gap')
      .map(({ event }) => event.data as Gap);
  }

  waiting(): number {
    return LANES.reduce((sum, lane) => sum + this.spool.status().lanes[lane].waiting, 0);
  }

  /** Room comes back, the manager takes everything; then each event must be accounted for, once. */
  async check(): Promise<void> {
    this.empty();
    for (let round = 0; round < 400 && (round < 3 || this.waiting() > 0); round += 1)
      await this.heartbeat({ takes: 1, answers: true });
    expect(this.waiting(), 'waiting').to.equal(0);
    this.#checkLosses();
    this.#checkSequences();
    this.#checkRefused();
  }

  #checkLosses(): void {
    const { lanes } = this.spool.status();
    for (const lane of LANES) {
      const gaps = this.gaps.filter((gap) => gap.lane === lane);
      const counted = gaps.reduce((sum, { count }) => sum + count, 0);
      expect(lanes[lane].dropped, `dropped of ${lane}, by its gaps`).to.equal(counted);
      if (lane === 'control') continue;
      const lost = [...this.#accepted].filter((id) => id.startsWith(`${lane} `) && !this.#received.has(id));
      const both = [...this.#unknown].filter((id) => id.startsWith(`${lane} `)).length;
      expect(counted, `counted of ${lane}`).to.be.within(lost.length, lost.length + both);
      for (const id of lost) expect(gaps.filter((gap) => names(gap, id)).length, `gaps that name ${id}`).to.equal(1);
    }
    for (const id of this.#received.keys())
      if (!id.startsWith('control ')) expect(this.#accepted.has(id), `${id} was accepted`).to.equal(true);
  }

  /** What comes of an epoch has no holes but those that a gap event names. */
  #checkSequences(): void {
    const gaps = this.gaps;
    const ends = new Map<string, number>();
    for (const { lane, epoch, event } of this.#received.values()) {
      const key = `${lane} ${epoch}`;
      ends.set(key, Math.max(ends.get(key) ?? -1, event.sequence));
    }
    for (const [key, end] of ends)
      for (let sequence = 0; sequence <= end; sequence += 1) {
        const id = `${key} ${sequence}`;
        const isThere = this.#received.has(id) || gaps.some((gap) => names(gap, id));
        expect(isThere, `${id} is there or named`).to.equal(true);
      }
  }

  #checkRefused(): void {
    const events = [...this.#received.values()]
      .map(({ event }) => event)
      .filter(({ kind }) => kind === 'spool-recovered');
    for (const { data } of events) {
      const { refused } = data as { refused: Partial<Record<Lane, number>> };
      this.#toldRefused += LANES.filter((lane) => lane !== 'control').reduce(
        (sum, lane) => sum + (refused[lane] ?? 0),
        0,
      );
    }
    const mayBeLost = this.#restarts > 0 || this.spool.status().lanes.control.dropped > 0;
    if (!mayBeLost) expect(this.#toldRefused, 'refused, as told').to.equal(this.refused);
  }
}

interface Batch {
  readonly lane: Lane;
  readonly epoch: string;
  readonly events: readonly AgentEvent[];
  readonly range: CarriedRange;
}

function idOf({ lane, epoch, sequence }: { lane: Lane; epoch: string; sequence: number }): string {
  return `${lane} ${epoch} ${sequence}`;
}

function rangesOf(batches: readonly Batch[]): CarriedRange[] {
  return batches.map(({ range }) => range);
}

function names({ lane, epoch, from, to }: Gap, id: string): boolean {
  const [ofLane, ofEpoch, sequence] = id.split(' ');
  return lane === ofLane && epoch === ofEpoch && Number(sequence) >= from && Number(sequence) <= to;
}

function quietly(run: Promise<unknown>): Promise<unknown> {
  return run.catch(() => undefined);
}
