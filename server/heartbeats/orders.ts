import type { Orders } from '../../protocol/heartbeat-messages.js';
import { PROTOCOL_VERSION } from '../../protocol/protocol-version.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { ForestGeneration } from '../policies/settings-cache.js';
import type { IdentityTokens } from './identity-token.js';
import type { AcceptedWork, AnsweredWork } from './report-work.js';

export interface OrdersDeps {
  readonly fleetClock: Pick<FleetClock, 'toTrusted' | 'trustedTime'>;
  readonly tokens: IdentityTokens;
  /** What an agent may send with its next report at this moment. */
  readonly quota: () => Orders['eventQuota'];
}

/** The answer to a report whose batch is committed. */
export function buildOrders(
  { fleetClock, tokens, quota }: OrdersDeps,
  work: AcceptedWork | AnsweredWork,
  generation: ForestGeneration,
): Orders {
  const { exchange, settings, live } = work;
  const tokenN = work.effect === 'accepted' ? work.acceptance.next.tokenN : live.tokenN;
  return {
    protocolVersion: Math.min(exchange.report.protocolVersion, PROTOCOL_VERSION),
    computerId: live.computerId,
    reportId: exchange.report.reportId,
    effect: work.effect,
    managerReceivedAt: Math.round(fleetClock.toTrusted(exchange.receivedAt)),
    managerSentAt: Math.round(fleetClock.trustedTime()),
    acknowledged: work.lanes.acknowledged,
    settings: work.carriesSettings ? { fingerprint: settings.fingerprint, generation, json: settings.json } : null,
    settingsGeneration: generation,
    ...(work.committed === null ? {} : { committed: work.committed }),
    ...(work.retried === null ? {} : { retryCandidate: work.retried }),
    commands: work.commands.orders,
    nextContactInMs: work.nextContactInMs,
    identityToken: tokens.tokenOf(live.computerId, generation.epoch, tokenN),
    eventQuota: { ...quota(), ratePerMinute: settings.eventRateLimitPerMinute },
    fullReport: work.fullReport,
    ...(work.inventory.held === undefined ? {} : { inventory: work.inventory.held }),
  };
}
