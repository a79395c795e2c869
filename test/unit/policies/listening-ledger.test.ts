import { expect } from 'chai';
import fc from 'fast-check';
import { createLedger, mergeSpans, type Span } from '../../../policies/listening-ledger.js';
import { deafSeconds, listeningSeconds } from './reference-deadline.js';
import { runs } from '../../support/property-runs.js';

const span = (from: number, until: number): Span => ({ from, until });
const secondSpans = fc.array(
  fc
    .record({ from: fc.nat(200), length: fc.nat(20) })
    .map(({ from, length }) => span(from * 1000, (from + length) * 1000)),
  { maxLength: 8 },
);

describe('joining deaf spans', () => {
  const table: readonly (readonly [string, Span[], Span[]])[] = [
    ['nothing', [], []],
    ['4.999 s apart', [span(0, 1000), span(5999, 7000)], [span(0, 7000)]],
    ['4.9 s apart', [span(0, 1000), span(5900, 7000)], [span(0, 7000)]],
    ['5 s apart', [span(0, 1000), span(6000, 7000)], [span(0, 1000), span(6000, 7000)]],
    ['touching', [span(0, 1000), span(1000, 2000)], [span(0, 2000)]],
    ['one inside the other', [span(0, 9000), span(1000, 2000)], [span(0, 9000)]],
    ['out of order', [span(20_000, 21_000), span(0, 1000)], [span(0, 1000), span(20_000, 21_000)]],
    ['empty and backwards', [span(5, 5), span(9, 3)], []],
    ['a chain', [span(0, 1000), span(5000, 6000), span(10_000, 11_000)], [span(0, 11_000)]],
  ];
  for (const [name, given, expected] of table) {
    it(`handles ${name}`, () => expect(mergeSpans(Object.freeze(given) as Span[])).to.deep.equal(expected));
  }
});

describe('the listening ledger', () => {
  const ledger = createLedger([span(70_000, 400_000), span(420_000, 430_000)]);

  for (const [at, heard] of [
    [0, 0],
    [70_000, 70_000],
    [70_001, 70_000],
    [399_999, 70_000],
    [400_000, 70_000],
    [400_001, 70_001],
    [425_000, 90_000],
    [430_500, 90_500],
  ] as const) {
    it(`has listened for ${heard} at ${at}`, () => expect(ledger.listeningAt(at)).to.equal(heard));
  }

  for (const [heard, at] of [
    [0, 0],
    [69_999, 69_999],
    [70_000, 70_000],
    [70_001, 400_001],
    [90_000, 420_000],
    [90_001, 430_001],
  ] as const) {
    it(`has listened for ${heard} at ${at} for the first time`, () => expect(ledger.earliestAt(heard)).to.equal(at));
  }

  it('never gets past an endless span', () => {
    const endless = createLedger([span(10_000, Number.POSITIVE_INFINITY)]);
    expect(endless.earliestAt(10_000)).to.equal(10_000);
    expect(endless.earliestAt(10_001)).to.equal(Number.POSITIVE_INFINITY);
    expect(endless.listeningAt(Number.POSITIVE_INFINITY)).to.equal(10_000);
  });

  it('agrees with counting seconds, and asks back to the same instant', () => {
    fc.assert(
      fc.property(secondSpans, fc.nat(230), (spans, second) => {
        const tested = createLedger(spans);
        const heard = listeningSeconds(deafSeconds(spans, 300));
        expect(tested.listeningAt(second * 1000)).to.equal(heard[second]! * 1000);
        expect(tested.earliestAt(heard[second]! * 1000)).to.equal(heard.indexOf(heard[second]!) * 1000);
      }),
      runs(500),
    );
  });
});
