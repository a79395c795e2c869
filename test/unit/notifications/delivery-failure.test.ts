import { expect } from 'chai';
import { DELIVERY_FAILURES, DeliveryFailure } from '../../../server/notifications/delivery-failure.js';

describe('a delivery that failed', () => {
  it('waits for the next success on its channel, unless its own content or record is at fault', () => {
    const own = DELIVERY_FAILURES.filter((code) => !new DeliveryFailure(code, 'a detail').isOfChannel);
    expect(own).to.deep.equal(['secrets-unreadable', 'recipients-refused', 'channel-removed', 'unknown']);
  });
});
