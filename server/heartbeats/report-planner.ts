import { NO_COMMANDS, type CommandPlan } from '../agent-commands/command-rules.js';
import type { CommandBackground, ReportCommands } from '../agent-commands/report-commands.js';
import { Problem } from '../../lib/problem.js';
import type { InventoryBackground, ReportInventory } from '../telemetry/report-inventory.js';
import type { ContactOrder } from '../../policies/drain-rules.js';
import type { LanePositionRepository } from '../events/lane-position-repository.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ComputerSettings, ForestGeneration, SettingsCache } from '../policies/settings-cache.js';
import { StaleSettings } from './database-failure.js';
import type { ClockWitness } from './clock-witness.js';
import type { EventRates } from './event-rates.js';
import type { Exchange } from './exchange.js';
import type { ContactsRepository } from './contacts-repository.js';
import type { FactsRepository, StoredState } from './facts-repository.js';
import type { LockedBatch } from './heartbeat-repository.js';
import type { HotSession } from './hot-session.js';
import type { LiveRow, LockedComputer } from './live-row.js';
import { repeatContactMs } from '../../policies/heartbeat-rules.js';
import { acceptReport, classifyReport, repeatReport, standingOf, type Classification } from './report-rules.js';
import { laneKeysOf, takeLanes, type LaneAdmission, type ReportWork } from './report-work.js';
import { stateDigestOf } from './state-digest.js';

export interface PlannerDeps {
  readonly settings: SettingsCache;
  readonly fleetClock: FleetClock;
  readonly positions: LanePositionRepository;
  readonly facts: FactsRepository;
  readonly contacts: Pick<ContactsRepository, 'findReaddressed'>;
  readonly commands: Pick<ReportCommands, 'read' | 'plan'>;
  readonly inventory: Pick<ReportInventory, 'read' | 'plan'>;
  /** Under load the lanes that can wait are left for later. */
  readonly admits: LaneAdmission;
  readonly rates: Pick<EventRates, 'of'>;
  /** When agents come back while the manager drains. */
  readonly orderContact?: ContactOrder | undefined;
  readonly witness?: ClockWitness | undefined;
}

interface Classified {
  readonly exchange: Exchange;
  readonly locked: LockedComputer | undefined;
  readonly classification: Classification;
  /** Of every report that is answered, from one generation. */
  readonly settings: ComputerSettings | null;
  /** Of an accepted report. */
  readonly digest: Buffer | null;
  readonly isStateNew: boolean;
}

interface Background {
  readonly now: FleetInstant;
  readonly positions: ReadonlyMap<string, number>;
  readonly states: ReadonlyMap<string, StoredState>;
  /** Computers that may try again what they reverted. */
  readonly readdressed: ReadonlySet<string>;
  readonly commands: CommandBackground;
  readonly inventory: InventoryBackground;
}

export interface Plan {
  readonly works: readonly ReportWork[];
  /** Of the settings that the works are made of. */
  readonly generation: ForestGeneration;
}

/**
 * Decides what every report of a locked batch is and comes to. Reads positions where events came and stored states
 * where a state changed, and where a candidate was reverted the address; a steady report costs no statement. All
 * settings are of the generation that is answered, whatever is loaded meanwhile. Throws `StaleSettings`.
 */
export async function planReports(
  deps: PlannerDeps,
  session: HotSession,
  { exchanges, locked }: { readonly exchanges: readonly Exchange[]; readonly locked: LockedBatch },
): Promise<Plan> {
  if (locked.computers.size > 0) await deps.settings.ensure(locked.generation);
  const classified = exchanges.map((exchange) =>
    classify(deps, exchange, locked.computers.get(exchange.identity.computerId)),
  );
  const generation = deps.settings.generation();
  const known = classified.filter(({ settings }) => settings !== null);
  const changed = classified.filter(({ isStateNew }) => isStateNew).map(({ exchange }) => exchange.identity.computerId);
  const background = {
    now: Math.floor(deps.fleetClock.fleet()),
    positions: await deps.positions.read(
      session,
      known.flatMap(({ exchange }) => laneKeysOf(exchange)),
    ),
    states: changed.length > 0 ? await deps.facts.readStates(session, changed) : new Map<string, StoredState>(),
    readdressed: await deps.contacts.findReaddressed(
      session,
      // An edit of the address makes the state one to look at anew.
      known.filter(({ isStateNew, classification }) => isStateNew || classification === 'repeat').map(exchangeOf),
    ),
    commands: await deps.commands.read(session, known.flatMap(commandReportOf)),
    inventory: await deps.inventory.read(session, known),
  };
  return { works: classified.map((report) => plan(deps, report, background)), generation };
}

/** What is older than the stored report neither tells of commands nor is given any. */
function commandReportOf({ exchange, locked, classification }: Classified) {
  if (!locked || classification === 'older') return [];
  const { hasCommands, awaitsResults } = locked.live;
  return [{ exchange, hasCommands, awaitsResults }];
}

const exchangeOf = ({ exchange }: Classified): Exchange => exchange;

function classify(deps: PlannerDeps, exchange: Exchange, locked: LockedComputer | undefined): Classified {
  const classification = classifyReport(locked, exchange);
  const nothing = { exchange, locked, classification, settings: null, digest: null, isStateNew: false };
  if (!locked || classification === 'revoked') return nothing;
  const settings = settingsOf(deps, locked);
  if (classification !== 'accepted') return { ...nothing, settings };
  const { stateDigest: stored } = locked.live;
  const digest = stateDigestOf(exchange, standingOf(exchange, settings), stored);
  return { ...nothing, settings, digest, isStateNew: !stored?.equals(digest) };
}

function plan(deps: PlannerDeps, report: Classified, background: Background): ReportWork {
  const { exchange, locked, classification, settings } = report;
  if (classification === 'revoked') return { exchange, effect: 'refused', problem: revoked() };
  if (!locked || !settings) return { exchange, effect: 'refused', problem: removed() };
  if (classification === 'accepted') return accept(deps, { ...report, locked, settings }, background);
  const { live, isFirstUse } = locked;
  const lanes = takeLanes(exchange, background.positions, { admits: () => false });
  const inventory = deps.inventory.plan(exchange, background.inventory, false);
  const shared = { exchange, live, isFirstUse, settings, lanes, inventory, fullReport: live.stateDigest === null };
  if (classification === 'repeat') {
    const circumstances = { settings, now: background.now, isReaddressed: background.readdressed.has(live.computerId) };
    const repetition = repeatReport(live, exchange, circumstances);
    const commands = planCommandsOf(deps, { exchange, live, isRepeat: true }, background);
    // What delivers commands stores the row, which finds out whether the computer was revoked meanwhile.
    const kept = repetition.next ?? (commands.changed.length > 0 ? live : null);
    const next = kept && withFlags(kept, commands);
    return { ...shared, effect: 'repeat', ...repetition, next, commands };
  }
  const nextContactInMs = repeatContactMs(live.contactDueAt ?? background.now, background.now);
  return {
    ...shared,
    effect: 'older',
    next: null,
    nextContactInMs,
    carriesSettings: false,
    committed: null,
    retried: null,
    commands: NO_COMMANDS,
  };
}

function planCommandsOf(
  deps: PlannerDeps,
  { exchange, live, isRepeat }: { readonly exchange: Exchange; readonly live: LiveRow; readonly isRepeat: boolean },
  { commands, now }: Background,
): CommandPlan {
  const { hasCommands, awaitsResults } = live;
  return deps.commands.plan({ exchange, hasCommands, awaitsResults, isRepeat, now }, commands);
}

function withFlags(row: LiveRow, { hasCommands, awaitsResults }: CommandPlan): LiveRow {
  return { ...row, hasCommands, awaitsResults };
}

function accept(
  deps: PlannerDeps,
  report: Classified & { readonly locked: LockedComputer; readonly settings: ComputerSettings },
  background: Background,
): ReportWork {
  const { now, positions, states, readdressed } = background;
  const { exchange, locked, settings, digest, isStateNew } = report;
  const { computerId } = exchange.identity;
  const { factsDigest, facts } = exchange.report;
  const stored = states.get(computerId);
  const fullReport = isStateNew && facts === undefined && stored?.factsDigest !== factsDigest;
  const accepted = acceptReport(locked.live, exchange, {
    settings,
    now,
    clock: deps.fleetClock,
    witness: deps.witness,
    stateDigest: fullReport ? null : digest,
    isStateNew,
    isReaddressed: readdressed.has(computerId),
    revertedBefore: stored?.reverted ?? null,
    orderContact: deps.orderContact,
  });
  const commands = planCommandsOf(deps, { exchange, live: locked.live, isRepeat: false }, background);
  const acceptance = { ...accepted, next: withFlags(accepted.next, commands) };
  const { nextContactInMs, carriesSettings, committed, retried } = acceptance;
  const lanes = takeLanes(exchange, positions, {
    admits: deps.admits,
    limit: { rate: () => deps.rates.of(computerId), perMinute: settings.eventRateLimitPerMinute },
  });
  const inventory = deps.inventory.plan(exchange, background.inventory, !exchange.shedsInventory);
  const orders = { nextContactInMs, carriesSettings, committed, retried, fullReport, commands, inventory };
  const { policyId } = locked.subject;
  return {
    exchange,
    effect: 'accepted',
    policyId,
    live: locked.live,
    isFirstUse: locked.isFirstUse,
    settings,
    lanes,
    acceptance,
    isStateNew,
    ...orders,
  };
}

function settingsOf(deps: PlannerDeps, { subject }: LockedComputer): ComputerSettings {
  try {
    return deps.settings.settingsOf(subject);
  } catch (cause) {
    throw new StaleSettings('The settings of a batch are newer than its rows', { cause });
  }
}

export function revoked(): Problem {
  return new Problem('computer-revoked', { detail: 'The certificate of this computer was revoked.' });
}

export function removed(): Problem {
  return new Problem('computer-removed', { detail: 'The record of this computer was removed: enroll it anew.' });
}
