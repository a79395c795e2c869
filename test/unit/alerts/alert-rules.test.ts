import { expect } from 'chai';
import { Problem } from '../../../lib/problem.js';
import type { Alert } from '../../../server/alerts/alert.js';
import { acknowledgeAlert, dismissAlert } from '../../../server/alerts/alert-rules.js';

const OPEN: Alert = {
  id: 'a',
  type: 'clock-changed',
  severity: 'medium',
  state: 'raised',
  computerId: null,
  computerName: null,
  incidentId: null,
  occurrences: 1,
  raisedAt: 100,
  closedAt: null,
  closedBy: null,
  acknowledgedAt: null,
  acknowledgedBy: null,
  comment: null,
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
});
