import { expect } from 'chai';
import { createLog } from '../../../lib/log.js';
import { createDialWatch } from '../../../server/dials/dial-watch.js';
import { eventually } from '../../support/poll.js';

const ID = '0c0ffee0-0000-4000-8000-000000000001';
const OTHER = '0c0ffee0-0000-4000-8000-000000000002';

describe('Hearing requests to dial', () => {
  it('opens a lost connection again, and leaves nothing behind of those before', async () => {
    const asked: string[][] = [];
    const lost: (() => void)[] = [];
    const warnings: Error[] = [];
    const note = (warning: Error): void => void warnings.push(warning);
    let hear: (message: { channel: string; payload?: string }) => void = () => undefined;
    const watch = createDialWatch({
      clock: { sleep: () => Promise.resolve() },
      log: createLog({ name: 'test', level: 'silent' }),
      connect: async () => ({
        query: async () => undefined,
        on(event: string, listener: never) {
          if (event === 'notification') hear = listener;
          if (event === 'end') lost.push(listener);
        },
        end: async () => undefined,
      }),
      onRequest: (ids) => void asked.push(ids),
    });
    process.on('warning', note);
    await watch.start();
    for (let connections = 1; connections <= 20; connections += 1) {
      await eventually(`connection ${connections}`, () => lost.length === connections);
      lost.at(-1)?.();
    }
    hear({ channel: 'wardbeat_dials', payload: `${ID},nonsense,${OTHER}` });
    await watch.stop();
    process.off('warning', note);
    expect(asked).to.deep.equal([[ID, OTHER]]);
    expect(warnings.filter(({ name }) => name === 'MaxListenersExceededWarning')).to.deep.equal([]);
  });
});
