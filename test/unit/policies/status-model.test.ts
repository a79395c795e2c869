import { expect } from 'chai';
import {
  ALERT_TYPES,
  GOODBYE_REASONS,
  goodbyeStatusReason,
  SEVERITIES,
  STATUS_REASONS,
} from '../../../policies/status-model.js';

describe('the status model', () => {
  it('has a described reason for every goodbye', () => {
    for (const reason of GOODBYE_REASONS) expect(STATUS_REASONS[goodbyeStatusReason(reason)]).to.be.a('string');
  });

  it('has a severity for every alert type, and lets clock-changed be dismissed only by hand', () => {
    for (const { severity } of Object.values(ALERT_TYPES)) expect(SEVERITIES).to.include(severity);
    expect(ALERT_TYPES['clock-changed'].dismissal).to.equal('by hand');
    expect(ALERT_TYPES['computer-offline'].dismissal).to.equal('automatic');
  });
});
