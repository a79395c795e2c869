import { expect } from 'chai';
import { kindOfFailure, StaleSettings } from '../../../server/heartbeats/database-failure.js';
import { CommitUnknown, inHotTransaction, type HotClient } from '../../../server/heartbeats/hot-session.js';
import { createIngestMetrics } from '../../../server/heartbeats/ingest-metrics.js';

const coded = (code: string) => Object.assign(new Error('from the server'), { code });

describe('what a failed batch means', () => {
  const cases: readonly (readonly [string, unknown, string])[] = [
    ['invalid bytes of a text', coded('22021'), 'data'],
    ['a NUL in jsonb', coded('22P05'), 'data'],
    ['a number out of range', coded('22003'), 'data'],
    ['a check that fails', coded('23514'), 'data'],
    ['a key that is there already', coded('23505'), 'data'],
    ['a deadlock', coded('40P01'), 'conflict'],
    ['a lock that is not to be had', coded('55P03'), 'conflict'],
    ['a policy that is gone', new StaleSettings(), 'conflict'],
    ['a server that stops', coded('57P01'), 'away'],
    ['a statement that took too long', coded('57014'), 'away'],
    ['a full disk', coded('53100'), 'away'],
    ['a lost connection', coded('08006'), 'away'],
    ['a refused connection', coded('ECONNREFUSED'), 'away'],
    ['a connection that ended', new Error('Connection terminated unexpectedly'), 'away'],
    ['a commit without an answer', new CommitUnknown(), 'unknown'],
    ['a statement that is wrong', coded('42601'), 'bug'],
    ['a fault of ours', new TypeError('x is not a function'), 'bug'],
  ];
  for (const [name, error, kind] of cases)
    it(`calls ${name} ${kind}`, () => expect(kindOfFailure(error)).to.equal(kind));
});

describe('a hot transaction', () => {
  function client(failing: string) {
    const log: string[] = [];
    const connection: HotClient = {
      async query({ text }) {
        log.push(text);
        if (text === failing) throw new Error('Connection terminated unexpectedly');
        return { rows: [] };
      },
      on: () => undefined,
      off: () => undefined,
      release: (error) => void log.push(error ? 'thrown away' : 'released'),
    };
    const run = inHotTransaction({ connect: async () => connection }, createIngestMetrics(), async (session) => {
      await session.query('WORK');
    });
    return run.then(
      () => ({ log, kind: 'stored' }),
      (error: unknown) => ({ log, kind: kindOfFailure(error) }),
    );
  }

  it('knows nothing of a commit that was not answered, and throws the connection away', async () => {
    expect(await client('COMMIT')).to.deep.equal({ log: ['BEGIN', 'WORK', 'COMMIT', 'thrown away'], kind: 'unknown' });
  });

  it('rolls back what failed before, and keeps the connection', async () => {
    expect(await client('WORK')).to.deep.equal({ log: ['BEGIN', 'WORK', 'ROLLBACK', 'released'], kind: 'away' });
  });

  it('gives the connection back after the commit', async () => {
    expect(await client('')).to.deep.equal({ log: ['BEGIN', 'WORK', 'COMMIT', 'released'], kind: 'stored' });
  });
});
