import { expect } from 'chai';
import type { Report } from '../../../protocol/heartbeat-messages.js';
import { judgeClock, type ClockFindings } from '../../../server/heartbeats/clock-findings.js';
import type { LiveRow } from '../../../server/heartbeats/live-row.js';
import { steadyReport, toExchange } from '../../support/ingest-world.js';

const ID = '00000000-0000-4000-8000-000000000001';
const NOW = 1_790_000_000_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const ROW: LiveRow = {
  computerId: ID,
  lastSeenAt: NOW - MINUTE,
  contactDueAt: NOW,
  confirmedIntervalMs: MINUTE,
  deliveredIntervalMs: null,
  deliveredFingerprint: null,
  sequence: 5,
  reportId: null,
  reportDigest: null,
  bootId: 'boot-1',
  instanceId: '11111111-1111-4111-8111-111111111111',
  tokenN: 41,
  appliedFingerprint: null,
  pendingContacts: 0,
  stateDigest: null,
  answeredAt: NOW - MINUTE + 10,
  clockOffsetMs: 0,
  clockErrorMs: 10,
  clockSampledAt: NOW - 2 * MINUTE,
  isClockDrifting: false,
  hasCommands: false,
  awaitsResults: false,
  seenByAgentAt: null,
  seenByDialAt: null,
};

/** The timestamps of the exchange before, by an agent that is ahead by `aheadMs`. */
const sampled = (aheadMs: number): Partial<Report> => ({
  agentTime: NOW + aheadMs,
  previousExchange: { sequence: 5, sentAt: NOW - MINUTE - 5 + aheadMs, receivedAt: NOW - MINUTE + 15 + aheadMs },
});

interface Situation {
  readonly live?: Partial<LiveRow>;
  readonly report?: Partial<Report>;
  readonly tells?: boolean;
  /** What the manager's wall clock was stepped by, and since when. */
  readonly wallStep?: { readonly byMs: number; readonly at: number };
}

function find({ live = {}, report = {}, tells = false, wallStep }: Situation): ClockFindings {
  const capabilities = tells ? ['clockChangeEvents'] : [];
  const exchange = toExchange(ID, NOW, { ...steadyReport(NOW), sequence: 6, capabilities, ...report });
  const toWall = (at: number): number => at + (wallStep && at >= wallStep.at ? wallStep.byMs : 0);
  return judgeClock({ ...ROW, ...live }, exchange, {
    settings: { intervalMs: MINUTE, clockLimits: { changeMs: MINUTE, driftMs: 5 * MINUTE } },
    now: NOW + 3,
    clock: { toWall, toTrusted: (at) => at },
  });
}

describe('what a report tells of its clock', () => {
  const changes: readonly (readonly [string, Situation, number | null])[] = [
    ['a step above the limit', { report: sampled(70_000) }, 70_000],
    ['a step back', { report: sampled(-70_000) }, -70_000],
    ['a step below the limit', { report: sampled(50_000) }, null],
    ['one that the agent tells itself', { report: sampled(70_000), tells: true }, null],
    [
      'one that it could not see, made before its kernel was started',
      { report: { ...sampled(70_000), uptimeMs: 90_000 }, tells: true },
      70_000,
    ],
    [
      'one that it saw, since its kernel was started before',
      { report: { ...sampled(70_000), uptimeMs: 3 * MINUTE }, tells: true },
      null,
    ],
    [
      'a start with a clock that was off by what it drifts',
      { live: { clockSampledAt: NOW - 48 * HOUR }, report: { ...sampled(80_000), uptimeMs: 90_000 }, tells: true },
      null,
    ],
    [
      'a clock that stood still without power',
      {
        live: { clockSampledAt: NOW - 48 * HOUR },
        report: { ...sampled(-48 * HOUR + 90_000), uptimeMs: 90_000 },
        tells: true,
      },
      null,
    ],
    [
      'the first reading ever',
      { live: { clockOffsetMs: null, clockErrorMs: null, clockSampledAt: null }, report: sampled(HOUR) },
      null,
    ],
    [
      'a reading after one way only',
      { live: { clockErrorMs: null, clockSampledAt: null }, report: sampled(70_000) },
      null,
    ],
    ['no exchange before', { report: { agentTime: NOW + HOUR } }, null],
    [
      'an exchange that is not ours',
      { report: { previousExchange: { sequence: 4, sentAt: 0, receivedAt: 10 } } },
      null,
    ],
    ['a step across a reboot', { report: { ...sampled(HOUR), bootId: 'boot-2', instanceId: ID } }, HOUR],
    ['a step of the manager', { report: sampled(0), wallStep: { byMs: HOUR, at: NOW - 90_000 } }, null],
    ['a step of the manager back', { report: sampled(0), wallStep: { byMs: -24 * HOUR, at: NOW } }, null],
    [
      'a step of the agent while the manager steps',
      { report: sampled(70_000), wallStep: { byMs: HOUR, at: NOW - 90_000 } },
      70_000,
    ],
    ['a clock that became fantastic', { report: { agentTime: 0 } }, -NOW],
    [
      'a clock that is fantastic still',
      { live: { clockOffsetMs: -NOW, clockErrorMs: null }, report: { agentTime: 1000 } },
      null,
    ],
    [
      'a clock that is sane again',
      { live: { clockOffsetMs: -NOW, clockErrorMs: null }, report: { agentTime: NOW } },
      NOW,
    ],
  ];
  for (const [name, situation, stepMs] of changes)
    it(`finds ${stepMs === null ? 'no change' : 'the change'} in ${name}`, () => {
      const { change, isLeftToAgent } = find(situation);
      expect(isLeftToAgent ? null : (change?.stepMs ?? null)).to.equal(stepMs);
    });

  it('names the step, the offsets before and after, and what it takes it for', () => {
    const live = { clockOffsetMs: 500 };
    expect(find({ live, report: sampled(2 * HOUR + 500) }).change).to.deep.equal({
      classification: 'time-zone-or-dst',
      stepMs: 2 * HOUR,
      withinMs: 2048,
      offsetBeforeMs: 500,
      offsetAfterMs: 2 * HOUR + 500,
      between: [NOW - 2 * MINUTE, NOW - MINUTE],
      knownAt: NOW - 2 * MINUTE,
    });
  });

  it('leaves out an exchange in which the clock was set, and sees the step in the next', () => {
    const torn = find({
      report: { previousExchange: { sequence: 5, sentAt: NOW - MINUTE - 5, receivedAt: NOW - MINUTE + HOUR } },
    });
    expect([torn.change, torn.columns.clockOffsetMs, torn.columns.clockSampledAt]).to.deep.equal([
      null,
      0,
      NOW - 2 * MINUTE,
    ]);
    const live = { ...torn.columns, clockSampledAt: NOW - 2 * MINUTE };
    expect(find({ live, report: sampled(HOUR) }).change?.stepMs).to.equal(HOUR);
  });

  const drifts: readonly (readonly [string, Situation, ClockFindings['drift'], boolean])[] = [
    ['above the limit', { report: sampled(301_000), tells: true }, 'raise', true],
    [
      'still above it',
      { live: { isClockDrifting: true, clockOffsetMs: 301_000 }, report: sampled(301_000) },
      null,
      true,
    ],
    [
      'a little below it',
      { live: { isClockDrifting: true, clockOffsetMs: 301_000 }, report: sampled(280_000) },
      null,
      true,
    ],
    [
      'below it',
      { live: { isClockDrifting: true, clockOffsetMs: 301_000 }, report: sampled(260_000) },
      'resolve',
      false,
    ],
    [
      'above it since the limit was lowered',
      { live: { clockOffsetMs: 301_000 }, report: { agentTime: NOW + 301_000 } },
      'raise',
      true,
    ],
    [
      'above it by the exchange before, and right now',
      { report: { ...sampled(400_000), agentTime: NOW } },
      null,
      false,
    ],
    [
      'above it by the exchange before, and by another amount now',
      { report: { ...sampled(400_000), agentTime: NOW + 330_000 }, tells: true },
      'raise',
      true,
    ],
    ['a manager set wrong', { report: sampled(0), wallStep: { byMs: HOUR, at: 0 } }, null, false],
    ['a manager put right', { report: sampled(HOUR), tells: true, wallStep: { byMs: HOUR, at: 0 } }, null, false],
    ['a fantastic clock', { report: { agentTime: 0 } }, 'raise', true],
    ['nothing known', { live: { clockOffsetMs: null, clockErrorMs: null } }, null, false],
  ];
  for (const [name, situation, drift, isDrifting] of drifts)
    it(`about a standing difference: ${name}`, () => {
      const found = find(situation);
      expect([found.drift, found.columns.isClockDrifting]).to.deep.equal([drift, isDrifting]);
    });
});
