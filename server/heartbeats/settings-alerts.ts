import type { AlertCondition, AlertWriter } from '../alerts/alert.js';
import type { HotSession } from './hot-session.js';
import type { AcceptedWork } from './report-work.js';

/** What accepted reports begin and end of alerts about settings; no statement where none of them is at a turn. */
export async function storeSettingsAlerts(
  alerts: AlertWriter,
  session: HotSession,
  works: readonly AcceptedWork[],
): Promise<void> {
  const conditions = works.flatMap((work) => [...pendingCondition(work), ...revertedCondition(work)]);
  if (conditions.length > 0) await alerts.raise(session, conditions);
  const applied = works.filter(({ acceptance }) => acceptance.settingsPending === 'resolve');
  if (applied.length > 0) await alerts.resolve(session, 'settings-pending', applied.map(endOf));
  const settled = works.filter(({ acceptance }) => acceptance.settingsReverted?.startsWith('resolve'));
  if (settled.length > 0) await alerts.resolve(session, 'settings-reverted', settled.map(endOfReverted));
}

function endOf({ live, exchange }: AcceptedWork) {
  return { subject: live.computerId, at: exchange.receivedAt };
}

/** Settings that are still desired and not in force stay reverted, also while they are tried again. */
function endOfReverted(work: AcceptedWork) {
  const isSettled = work.acceptance.settingsReverted === 'resolve';
  return isSettled ? endOf(work) : { ...endOf(work), unless: { desired: work.settings.fingerprint } };
}

function pendingCondition({ live, settings, acceptance, exchange }: AcceptedWork): AlertCondition[] {
  if (acceptance.settingsPending !== 'raise') return [];
  const { appliedFingerprint: applied, pendingContacts: contacts } = acceptance.next;
  return [
    {
      type: 'settings-pending',
      subject: live.computerId,
      computerId: live.computerId,
      raisedAt: exchange.receivedAt,
      reason: 'settings-pending',
      detail: { desired: settings.fingerprint, applied, contacts },
    },
  ];
}

/** What an agent says where it names no reason. */
const NO_REASON = 'settings-reverted';

function revertedCondition({ live, settings, acceptance, exchange }: AcceptedWork): AlertCondition[] {
  const { candidate } = exchange.report;
  const { settingsReverted: turn } = acceptance;
  if ((turn !== 'raise' && turn !== 'keep') || !candidate) return [];
  const { direction, reason = NO_REASON, port = null, detail = null } = candidate;
  return [
    {
      type: 'settings-reverted',
      subject: live.computerId,
      computerId: live.computerId,
      raisedAt: exchange.receivedAt,
      reason,
      detail: {
        desired: settings.fingerprint,
        applied: acceptance.next.appliedFingerprint,
        communicationDirection: direction,
        listenerPort: port,
        detail,
      },
      ...(turn === 'keep' ? { unlessOpen: 'settings-reverted' } : {}),
    },
  ];
}
