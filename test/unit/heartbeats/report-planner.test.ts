import { expect } from 'chai';
import { createReportInventory } from '../../../server/telemetry/report-inventory.js';
import { createReportCommands } from '../../../server/agent-commands/report-commands.js';
import { createEventRates } from '../../../server/heartbeats/event-rates.js';
import type { FactsRepository } from '../../../server/heartbeats/facts-repository.js';
import type { HotSession } from '../../../server/heartbeats/hot-session.js';
import type { LiveRow } from '../../../server/heartbeats/live-row.js';
import { planReports, type PlannerDeps } from '../../../server/heartbeats/report-planner.js';
import type { ComputerSettings } from '../../../server/policies/settings-cache.js';
import { EPOCH, handClock, POLICY_ID, steadyReport, toExchange } from '../../support/ingest-world.js';

const NOW = 1_790_000_000_000;
const ID = 'a0000000-0000-4000-8000-000000000001';

const ROW = {
  computerId: ID,
  bootId: 'boot-1',
  sequence: 0,
  tokenN: 0,
  pendingContacts: 0,
  stateDigest: null,
  clockOffsetMs: null,
  isClockDrifting: false,
  hasCommands: false,
  awaitsResults: false,
} as unknown as LiveRow;

/** The settings of a generation, told by their fingerprint. */
const settingsOf = (counter: number): ComputerSettings => ({
  json: '{}',
  fingerprint: String(counter).repeat(64),
  intervalMs: 60_000,
  verdictRules: { missedAllowed: 2, graceMs: 5000, offlineAlertForStoppedVm: false, goodbyeToleranceMs: 300_000 },
  clockLimits: { changeMs: 60_000, driftMs: 300_000 },
  settingsPendingContactsAllowed: 2,
  certificateDays: { lifetime: 30, renewAfterExpiry: 7, expiryAlert: 7 },
  eventRateLimitPerMinute: 600,
  rulesSince: 0,
});

describe('planning a batch', () => {
  it('answers the generation of its settings when a newer one is loaded between two statements', async () => {
    let counter = 7;
    const deps = {
      settings: {
        generation: () => ({ epoch: EPOCH, counter }),
        ensure: async () => undefined,
        settingsOf: () => settingsOf(counter),
        onChange: () => undefined,
      },
      fleetClock: handClock(NOW),
      positions: {
        read: async () => {
          counter = 8;
          return new Map<string, number>();
        },
      },
      facts: { readStates: async () => new Map() } as unknown as FactsRepository,
      contacts: { findReaddressed: async () => new Set<string>() },
      commands: createReportCommands(),
      inventory: createReportInventory(),
      admits: () => true,
      rates: createEventRates(),
    } as unknown as PlannerDeps;
    const exchange = toExchange(ID, NOW, { ...steadyReport(NOW), sequence: 1 });
    const subject = { kind: 'agent', policyId: POLICY_ID, overrides: null } as const;
    const { works, generation } = await planReports(deps, {} as HotSession, {
      exchanges: [exchange],
      locked: {
        generation: { epoch: EPOCH, counter: 7 },
        computers: new Map([[ID, { live: ROW, subject, isRevoked: false, isFirstUse: false }]]),
      },
    });
    const [work] = works;
    expect(work?.effect === 'accepted' && [work.settings.fingerprint, generation.counter]).to.deep.equal([
      settingsOf(7).fingerprint,
      7,
    ]);
  });
});
