import { COMMANDS_CAPABILITY, type CommandOrder, type CommandResult } from '../../protocol/command-messages.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Exchange } from '../heartbeats/exchange.js';
import type { Command } from './command.js';
import { readForReports, storeProgress } from './command-repository.js';
import { planCommands, type CommandPlan } from './command-rules.js';
import type { ReleaseCodes } from './release-codes.js';

/** A report under the lock of its live row. */
export interface CommandReport {
  readonly exchange: Exchange;
  /** The live row's flags. */
  readonly hasCommands: boolean;
  readonly awaitsResults: boolean;
}

export interface PlannedReport extends CommandReport {
  readonly isRepeat: boolean;
  /** The answer is made. */
  readonly now: FleetInstant;
}

export type CommandBackground = ReadonlyMap<string, readonly Command[]>;

/** What reports and commands have to do with each other; nothing, and no statement, for computers without commands. */
export interface ReportCommands {
  /** By computer id; of those that have commands to deliver or tell of some. */
  read(sql: Sql, reports: readonly CommandReport[]): Promise<CommandBackground>;
  plan(report: PlannedReport, background: CommandBackground): CommandPlan;
  store(sql: Sql, plans: readonly CommandPlan[]): Promise<void>;
}

/** `releaseCodes`: absent, an isolation can be ended by command alone. */
export function createReportCommands(releaseCodes?: Pick<ReleaseCodes, 'digestOf'>): ReportCommands {
  return {
    async read(sql, reports) {
      const concerned = reports.filter(isConcerned).map(({ exchange }) => exchange);
      if (concerned.length === 0) return new Map();
      const computerIds = concerned.map(({ identity }) => identity.computerId);
      const commandIds = concerned.flatMap((exchange) => toldBy(exchange).map(({ id }) => id));
      return groupByComputer(computerIds, await readForReports(sql, { computerIds, commandIds }));
    },
    plan({ exchange, isRepeat, now, hasCommands, awaitsResults }, background) {
      const commands = background.get(exchange.identity.computerId);
      if (!commands) return { orders: [], changed: [], hasCommands, awaitsResults };
      const plan = planCommands({
        commands,
        // A repeat's tellings were stored with the first.
        told: isRepeat ? [] : toldBy(exchange),
        takesCommands: exchange.report.capabilities.includes(COMMANDS_CAPABILITY),
        receivedAt: exchange.receivedAt,
        at: now,
      });
      const { computerId } = exchange.identity;
      return { ...plan, orders: plan.orders.map((order) => withReleaseDigest(order, computerId, releaseCodes)) };
    },
    store: (sql, plans) =>
      storeProgress(
        sql,
        plans.flatMap(({ changed }) => changed),
      ),
  };
}

function withReleaseDigest(
  order: CommandOrder,
  computerId: string,
  codes: Pick<ReleaseCodes, 'digestOf'> | undefined,
): CommandOrder {
  return order.type === 'isolate' && codes ? { ...order, releaseDigest: codes.digestOf(computerId, order.id) } : order;
}

function isConcerned({ hasCommands, exchange }: CommandReport): boolean {
  return hasCommands || toldBy(exchange).length > 0;
}

function toldBy({ report }: Exchange): readonly CommandResult[] {
  return report.commandResults ?? [];
}

function groupByComputer(computerIds: readonly string[], commands: readonly Command[]): CommandBackground {
  const groups = new Map<string, Command[]>(computerIds.map((id) => [id, []]));
  for (const command of commands) groups.get(command.computerId)?.push(command);
  return groups;
}
