import { expect } from 'chai';
import { createDialRecorder, type EndedDial } from '../../../server/dials/dial-recorder.js';

const ID = '0c0ffee0-0000-4000-8000-000000000001';
const OTHER = '0c0ffee0-0000-4000-8000-000000000002';

describe('Recording how dials ended', () => {
  it('takes the last of two dials of one computer that ended together, and none of the others is lost', async () => {
    const statements: unknown[][] = [];
    const recorder = createDialRecorder({
      clock: { sleep: () => Promise.resolve() },
      inTransaction: (work) => work({ query: async (_text, values) => (statements.push([...(values ?? [])]), []) }),
    });
    const dial = (computerId: string, begunAt: number, result: EndedDial['result']): Promise<void> =>
      recorder.record({ computerId, begunAt, endedAt: begunAt + 1, result, detail: null, hostUp: null });
    await Promise.all([dial(ID, 1, 'refused'), dial(OTHER, 2, 'reset'), dial(ID, 3, 'timeout')]);
    expect(statements.map(([ids, begun, , results]) => [ids, begun, results])).to.deep.equal([
      [
        [ID, OTHER],
        [3, 2],
        ['timeout', 'reset'],
      ],
    ]);
  });
});
