import { expect } from 'chai';
import { Problem } from '../../../lib/problem.js';
import type { Alert } from '../../../server/alerts/alert.js';
import {
  acknowledgeAlert,
  assignAlert,
  commentAlert,
  dismissAlert,
  snoozeAlert,
  unsnoozeAlert,
} from '../../../server/alerts/alert-rules.js';

const OPEN: Alert = {
  id: 'a',
  type: 'clock-changed',
  severity: 'medium',
  state: 'raised',
  computerId: null,
  computerName: null,
  occurrences: 1,
  raisedAt: 100,
  closedAt: null,
  closedBy: null,
  acknowledgedAt: null,
  acknowledgedBy: null,
  comment: null,
  incidentId: null,
  assignee: null,
  snoozedUntil: null,
  isFlapping: false,
  heldBy: null,
  told: 'nothing',
  reason: 'unknown',
  detail: {},
};
const ADA = { actorId: 'ada', at: 200, comment: 'seen' };

const codeOf = (action: () => unknown): string | undefined => {
  try {
    action();
    return undefined;
  } catch (error) {
    return error instanceof Problem ? error.code : String(error);
  }
};

describe('acting on an alert', () => {
  it('acknowledges with who and when, and leaves it open', () => {
    const after = acknowledgeAlert(OPEN, ADA);
    expect(after).to.include({ state: 'acknowledged', acknowledgedAt: 200, acknowledgedBy: 'ada', comment: 'seen' });
    expect(after.closedAt).to.equal(null);
  });

  it('keeps the first acknowledgement and takes a further comment', () => {
    const after = acknowledgeAlert(acknowledgeAlert(OPEN, ADA), { actorId: 'rex', at: 300, comment: 'again' });
    expect(after).to.include({ acknowledgedAt: 200, acknowledgedBy: 'ada', comment: 'again' });
  });

  it('keeps the comment when none is given', () => {
    const after = dismissAlert(acknowledgeAlert(OPEN, ADA), { actorId: 'rex', at: 300, comment: undefined });
    expect(after).to.include({ state: 'dismissed', closedAt: 300, closedBy: 'rex', comment: 'seen' });
  });

  it('is never closed before it was raised', () => {
    expect(dismissAlert(OPEN, { ...ADA, at: 50 }).closedAt).to.equal(100);
  });

  const refused = [
    {
      name: 'dismissing an automatic type',
      alert: { ...OPEN, type: 'computer-offline' },
      code: 'alert-resolves-itself',
    },
    { name: 'dismissing a resolved one', alert: { ...OPEN, state: 'resolved' as const }, code: 'alert-already-closed' },
    {
      name: 'dismissing a dismissed one',
      alert: { ...OPEN, state: 'dismissed' as const },
      code: 'alert-already-closed',
    },
  ];
  for (const { name, alert, code } of refused)
    it(`refuses ${name}`, () => expect(codeOf(() => dismissAlert(alert, ADA))).to.equal(code));
  it('refuses to acknowledge a closed one', () => {
    expect(codeOf(() => acknowledgeAlert({ ...OPEN, state: 'resolved' }, ADA))).to.equal('alert-already-closed');
  });

  it('is snoozed until an instant, and anew until another', () => {
    const snoozed = snoozeAlert(OPEN, 500, 'later');
    expect(snoozed).to.include({ state: 'raised', snoozedUntil: 500, comment: 'later' });
    expect(snoozeAlert(snoozed, 900, undefined)).to.include({ snoozedUntil: 900, comment: 'later' });
    expect(unsnoozeAlert(snoozed)).to.include({ snoozedUntil: null, comment: 'later' });
  });

  it('is given to somebody, and to nobody', () => {
    const given = assignAlert(OPEN, 'rex', 'yours');
    expect(given).to.include({ state: 'raised', assignee: 'rex', comment: 'yours' });
    expect(assignAlert(given, null, undefined)).to.include({ assignee: null, comment: 'yours' });
  });

  it('is commented, woken, but neither snoozed nor given away when it is closed', () => {
    const closed = dismissAlert(snoozeAlert(OPEN, 500, undefined), ADA);
    expect(commentAlert(closed, 'it was the cable')).to.include({ state: 'dismissed', comment: 'it was the cable' });
    expect(unsnoozeAlert(closed)).to.include({ state: 'dismissed', snoozedUntil: null });
    expect(codeOf(() => snoozeAlert(closed, 900, undefined))).to.equal('alert-already-closed');
    expect(codeOf(() => assignAlert(closed, 'rex', undefined))).to.equal('alert-already-closed');
  });
});
