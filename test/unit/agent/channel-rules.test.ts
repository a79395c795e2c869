import { expect } from 'chai';
import {
  afterLiving,
  afterLoss,
  afterOpening,
  afterRefusal,
  afterSilence,
  FALLBACK_MS,
  isSwallowed,
  LOSS_SPREAD_MS,
  mayOpen,
  NO_TROUBLE,
  type ChannelTrouble,
  type LostChannel,
} from '../../../agent/channel-rules.js';
import { writeReturn } from '../../../protocol/channel-messages.js';

const refuse = (trouble: ChannelTrouble, nowBoot: number, retryAfterMs?: number): ChannelTrouble =>
  afterRefusal(trouble, { nowBoot, detail: 'a page', retryAfterMs, chance: 0.5 });

describe('upgrades that fail', () => {
  it('are tried again ever later, and after three each heartbeat opens a connection for an hour', () => {
    let trouble = refuse(NO_TROUBLE, 1000);
    expect(trouble).to.include({ refusals: 1, notBeforeBoot: 1000 + 3750 });
    expect([mayOpen(trouble, 4749), mayOpen(trouble, 4750)]).to.deep.equal([false, true]);
    trouble = refuse(trouble, 5000);
    expect(trouble.notBeforeBoot).to.equal(5000 + 7500);
    expect(trouble.fallback).to.equal(undefined);
    trouble = refuse(trouble, 20_000);
    expect(trouble).to.deep.include({
      notBeforeBoot: 20_000 + FALLBACK_MS,
      fallback: { detail: 'a page', sinceBoot: 20_000 },
    });
  });

  it('hourly go on telling since when, until one is opened and lives', () => {
    const fallen = [1, 2, 3].reduce((trouble, at) => refuse(trouble, at), NO_TROUBLE);
    const again = refuse(afterOpening(fallen), 4 + FALLBACK_MS);
    expect(again.fallback?.sinceBoot).to.equal(3);
    expect(again.notBeforeBoot).to.equal(4 + 2 * FALLBACK_MS);
    expect(afterOpening(fallen).fallback).to.deep.equal(fallen.fallback);
    expect(afterLiving(fallen).fallback).to.equal(undefined);
  });

  it('are no sign of a middlebox where the manager itself asks to wait', () => {
    const trouble = [1, 2, 3, 4].reduce((before, at) => refuse(before, at, 30_000), NO_TROUBLE);
    expect(trouble).to.deep.include({ refusals: 0, notBeforeBoot: 4 + 45_000 });
    expect(trouble.fallback).to.equal(undefined);
  });
});

describe('an upgrade that is not answered', () => {
  it('is tried again later, and counts for nothing yet', () => {
    const trouble = afterSilence(refuse(NO_TROUBLE, 1000), { nowBoot: 9000, chance: 0.5 });
    expect(trouble).to.include({ refusals: 1, notBeforeBoot: 9000 + 7500 });
  });

  it('was swallowed where HTTPS was answered in half of its wait, and not where all is slow', () => {
    expect(isSwallowed({ waitedMs: 4000, httpsMs: 2000 })).to.equal(true);
    expect(isSwallowed({ waitedMs: 4000, httpsMs: 2001 })).to.equal(false);
    expect(isSwallowed({ waitedMs: 0, httpsMs: 1 }), 'no time to answer in').to.equal(false);
  });
});

describe('a channel that ends', () => {
  const lost = (changes: Partial<LostChannel> = {}): LostChannel => ({
    nowBoot: 100_000,
    livedMs: 70_000,
    code: 1006,
    reason: '',
    intervalMs: 60_000,
    chance: 0.5,
    ...changes,
  });

  it('is opened anew within seconds, each agent at a time of its own', () => {
    expect(afterLoss(NO_TROUBLE, lost())).to.deep.equal({ trouble: NO_TROUBLE, returnInMs: LOSS_SPREAD_MS / 2 });
    expect(afterLoss(NO_TROUBLE, lost({ intervalMs: 5000, chance: 1 })).returnInMs).to.equal(2500);
  });

  it('by a restart is opened when the manager said', () => {
    const { trouble, returnInMs } = afterLoss(NO_TROUBLE, lost({ code: 1012, reason: writeReturn(45_000) }));
    expect([returnInMs, trouble.notBeforeBoot]).to.deep.equal([45_000, 145_000]);
    expect(afterLoss(NO_TROUBLE, lost({ code: 1012, reason: 'soon' })).returnInMs).to.equal(LOSS_SPREAD_MS / 2);
  });

  it('by a refusal has the agent ask why, and by another connection of its own identity leaves that alone', () => {
    expect(afterLoss(NO_TROUBLE, lost({ code: 4403 })).returnInMs).to.equal(1000);
    const replaced = afterLoss(NO_TROUBLE, lost({ code: 4409 }));
    expect([replaced.returnInMs, replaced.trouble.notBeforeBoot]).to.deep.equal([undefined, 130_000]);
  });

  it('by the agent itself, for another route, counts as no cut', () => {
    const own = lost({ code: 1000, livedMs: 10 });
    let trouble = NO_TROUBLE;
    for (let count = 0; count < 10; count += 1) trouble = afterLoss(trouble, own).trouble;
    expect(trouble).to.deep.equal(NO_TROUBLE);
    expect(afterLoss(NO_TROUBLE, own).returnInMs).to.equal(LOSS_SPREAD_MS / 2);
  });

  it('soon, five times in a row, is given up for an hour', () => {
    const short = lost({ livedMs: 59_999 });
    let trouble = NO_TROUBLE;
    for (let count = 1; count < 5; count += 1) trouble = afterLoss(trouble, short).trouble;
    expect(trouble).to.include({ shortLives: 4 });
    expect(afterLoss(trouble, lost({ livedMs: 60_000 })).trouble.shortLives).to.equal(0);
    const fallen = afterLoss(trouble, short);
    expect(fallen.returnInMs).to.equal(undefined);
    expect(fallen.trouble.fallback?.detail).to.contain('5 channels in a row');
    expect(mayOpen(fallen.trouble, 100_000 + FALLBACK_MS - 1)).to.equal(false);
  });
});
