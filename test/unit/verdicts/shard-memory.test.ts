import { expect } from 'chai';
import fc from 'fast-check';
import { HintHeap } from '../../../server/verdicts/hint-heap.js';
import { ShardMemory } from '../../../server/verdicts/shard-memory.js';
import { SHARD_COUNT, shardOf, shardRange } from '../../../server/shards/shard-rules.js';

describe('verdict shards', () => {
  it('are the top six bits of the id, as a range of ids', () => {
    fc.assert(
      fc.property(fc.uuid(), (id) => {
        const { first, last } = shardRange(shardOf(id));
        expect(first <= id && id <= last).to.equal(true);
      }),
    );
    for (let shard = 0; shard < SHARD_COUNT; shard += 1) {
      expect(shardOf(shardRange(shard).first)).to.equal(shard);
      expect(shardOf(shardRange(shard).last)).to.equal(shard);
    }
  });
});

describe('the heap of hints', () => {
  it('always shows the slot with the earliest instant', () => {
    const change = fc.record({ slot: fc.nat(60), hint: fc.oneof(fc.nat(100), fc.constant(Number.POSITIVE_INFINITY)) });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 300 }), (changes) => {
        const heap = new HintHeap(64);
        const hints: number[] = [];
        for (const { slot, hint } of changes) {
          if (slot < hints.length) {
            heap.set(slot, hint);
            hints[slot] = hint;
          } else if (hints.length < 64) {
            hints[heap.add(hint)] = hint;
          }
          expect(heap.earliest()).to.equal(Math.min(...hints));
          expect(hints[heap.first() ?? -1]).to.equal(heap.earliest());
        }
      }),
    );
  });
  it('shows nothing when it is empty', () => {
    expect(new HintHeap(1).first()).to.equal(undefined);
    expect(new HintHeap(1).earliest()).to.equal(Number.POSITIVE_INFINITY);
  });
});

describe('the memory of a shard', () => {
  const facts = {
    lastSeenAt: 1_700_000_000_123,
    contactDueAt: 1_700_000_060_123,
    intervalMs: 60_000,
    group: 3,
    status: 'online' as const,
    rulesSince: 7,
    isSpecial: false,
    isDialled: false,
  };

  it('finds every id it was given, however many, and no other', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.uuid(), { maxLength: 400 }), fc.uuid(), (ids, stranger) => {
        const memory = new ShardMemory();
        const slots = ids.map((id) => memory.obtain(id, 5));
        expect(ids.map((id) => memory.find(id))).to.deep.equal(slots);
        expect(slots.map((slot) => memory.idOf(slot))).to.deep.equal(ids);
        expect(memory.size).to.equal(ids.length);
        if (!ids.includes(stranger)) expect(memory.find(stranger)).to.equal(undefined);
      }),
      { numRuns: 30 },
    );
  });

  it('keeps what it learned while it grows', () => {
    const memory = new ShardMemory();
    const first = memory.obtain('00000000-0000-4000-8000-000000000001', 5);
    memory.learn(first, facts);
    for (let number = 2; number < 500; number += 1)
      memory.obtain(`00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`, 9);
    expect(memory.factsOf(first)).to.deep.equal(facts);
    expect(memory.earliest()).to.equal(5);
  });

  it('lets a later report stand against what the database said before', () => {
    const memory = new ShardMemory();
    const slot = memory.obtain('00000000-0000-4000-8000-000000000001', Number.POSITIVE_INFINITY);
    memory.hear(slot, { lastSeenAt: facts.lastSeenAt + 1, contactDueAt: facts.contactDueAt + 9, intervalMs: 60_000 });
    expect(memory.learn(slot, { ...facts, status: 'offline' })).to.equal(false);
    expect(memory.factsOf(slot)).to.include({ lastSeenAt: facts.lastSeenAt + 1, status: 'online', group: 3 });
  });

  it('brings a hint nearer when a report shortens the wait, and never puts it off', () => {
    const memory = new ShardMemory();
    const slot = memory.obtain('00000000-0000-4000-8000-000000000001', Number.POSITIVE_INFINITY);
    memory.hear(slot, { lastSeenAt: 1000, contactDueAt: 52_000, intervalMs: 60_000 });
    expect(memory.hintOf(slot)).to.equal(61_000);
    memory.hear(slot, { lastSeenAt: 2000, contactDueAt: 62_000, intervalMs: 60_000 });
    expect(memory.hintOf(slot)).to.equal(61_000);
  });

  it('ignores a report older than the one it knows', () => {
    const memory = new ShardMemory();
    const slot = memory.obtain('00000000-0000-4000-8000-000000000001', 0);
    memory.hear(slot, { lastSeenAt: 2000, contactDueAt: 62_000, intervalMs: 60_000 });
    memory.hear(slot, { lastSeenAt: 1000, contactDueAt: 61_000, intervalMs: 60_000 });
    expect(memory.factsOf(slot).lastSeenAt).to.equal(2000);
  });

  it('reads a forgotten computer anew when it is heard of again', () => {
    const memory = new ShardMemory();
    const slot = memory.obtain('00000000-0000-4000-8000-000000000001', 0);
    memory.learn(slot, facts);
    memory.markMustRead(slot, false);
    memory.forget(slot);
    expect(memory.earliest()).to.equal(Number.POSITIVE_INFINITY);
    expect(memory.obtain('00000000-0000-4000-8000-000000000001', 8)).to.equal(slot);
    expect(memory.mustRead(slot)).to.equal(true);
    expect(memory.earliest()).to.equal(8);
  });
});
