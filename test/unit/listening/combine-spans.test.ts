import { expect } from 'chai';
import { combineSpans } from '../../../server/listening/combine-spans.js';

type Pairs = readonly (readonly [number, number])[];
const spansOf = (pairs: Pairs) => pairs.map(([from, until]) => ({ from, until }));
const ENDLESS = Number.POSITIVE_INFINITY;

describe('combining the deaf spans of all listeners', () => {
  interface Case {
    readonly name: string;
    readonly listeners: readonly (readonly [listenedUntil: number, spans: Pairs])[];
    readonly now: number;
    readonly deaf: Pairs;
  }
  const cases: readonly Case[] = [
    { name: 'knows of none without listeners', listeners: [], now: 100, deaf: [] },
    {
      name: 'takes those of a single listener',
      listeners: [
        [
          1000,
          [
            [10, 20],
            [5, 7],
          ],
        ],
      ],
      now: 1000,
      deaf: [
        [5, 7],
        [10, 20],
      ],
    },
    {
      name: 'joins overlapping ones',
      listeners: [
        [
          1000,
          [
            [10, 20],
            [15, 30],
            [30, 40],
          ],
        ],
      ],
      now: 1000,
      deaf: [[10, 40]],
    },
    {
      name: 'is deaf only where all were',
      listeners: [
        [1000, [[10, 50]]],
        [
          1000,
          [
            [0, 20],
            [30, 35],
            [45, 90],
          ],
        ],
      ],
      now: 1000,
      deaf: [
        [10, 20],
        [30, 35],
        [45, 50],
      ],
    },
    {
      name: 'hears through the one that listened',
      listeners: [
        [1000, [[10, 50]]],
        [1000, []],
      ],
      now: 1000,
      deaf: [],
    },
    {
      name: 'takes a listener as live until five seconds after its proof',
      listeners: [
        [10_000, [[100, 14_000]]],
        [9000, []],
      ],
      now: 14_000,
      deaf: [],
    },
    {
      name: 'takes a listener as deaf from its proof on when it is gone',
      listeners: [
        [20_000, [[100, 14_000]]],
        [9000, []],
      ],
      now: 14_001,
      deaf: [[9000, 14_000]],
    },
    {
      name: 'is deaf without end when none is live',
      listeners: [
        [1000, []],
        [2000, []],
      ],
      now: 8000,
      deaf: [[2000, ENDLESS]],
    },
  ];
  for (const { name, listeners, now, deaf } of cases)
    it(name, () => {
      const records = listeners.map(([listenedUntil, spans]) => ({ listenedUntil, spans: spansOf(spans) }));
      expect(combineSpans(records, now)).to.deep.equal(spansOf(deaf));
      expect(combineSpans(records.toReversed(), now)).to.deep.equal(spansOf(deaf));
    });
});
