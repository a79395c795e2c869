import { expect } from 'chai';
import { get as httpGet } from 'node:http';
import { Problem } from '../../../lib/problem.js';
import { defineRoute } from '../../../server/admin-api/route.js';
import { useDatabase } from '../../support/database.js';
import { eventually } from '../../support/poll.js';
import { startAdminWorld, type AdminWorld } from './admin-world.js';

const PIECE = 'x'.repeat(64 * 1024);

describe('answers that are streamed', function () {
  this.timeout(30_000);
  const database = useDatabase();
  let world: AdminWorld;
  let headers: Record<string, string>;
  const streams: Record<string, () => AsyncIterable<string>> = {};
  let ended = 0;
  let given = 0;

  async function* pieces(count: number, fault?: Error): AsyncGenerator<string> {
    try {
      for (let piece = 0; piece < count; piece += 1) {
        given += 1;
        yield PIECE;
      }
      if (fault) throw fault;
    } finally {
      ended += 1;
    }
  }

  before(async () => {
    const route = defineRoute({
      method: 'get',
      path: '/test-stream',
      permission: 'auditor',
      summary: 'Text by pieces',
      tag: 'test',
      reply: { status: 200, alsoAs: ['text/plain'] },
      handle: async () => ({ stream: streams['now']!(), headers: { 'Content-Type': 'text/plain; charset=utf-8' } }),
    });
    world = await startAdminWorld(database, { routes: [route] });
    headers = await world.bearer('auditor');
  });
  beforeEach(() => {
    ended = 0;
    given = 0;
  });
  after(() => world.close());
  const ask = (method = 'GET') => world.raw({ method, path: '/api/v1/test-stream', headers });

  it('come whole, with their type', async () => {
    streams['now'] = () => pieces(40);
    const answer = await ask();
    expect(answer).to.include({ status: 200, text: PIECE.repeat(40) });
    expect(answer.headers['content-type']).to.equal('text/plain; charset=utf-8');
    expect(ended).to.equal(1);
  });

  it('may be empty', async () => {
    streams['now'] = () => pieces(0);
    expect(await ask()).to.include({ status: 200, text: '' });
  });

  it('are not made for HEAD beyond the first piece', async () => {
    streams['now'] = () => pieces(40);
    expect(await ask('HEAD')).to.include({ status: 200, text: '' });
    expect([given, ended]).to.deep.equal([1, 1]);
  });

  it('are a problem where they fail before the first piece', async () => {
    streams['now'] = () => pieces(0, new Problem('unavailable', { detail: 'Not now.' }));
    const answer = await ask();
    expect(answer.status).to.equal(503);
    expect(answer.headers['content-type']).to.equal('application/problem+json');
  });

  it('break off where they fail later: nobody takes a part for the whole', async () => {
    streams['now'] = () => pieces(2, new Error('the secret reason'));
    const error = await ask().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(Error);
    expect(ended).to.equal(1);
  });

  it('end when the client goes, and are made no faster than it reads', async () => {
    streams['now'] = () => pieces(100_000);
    const { hostname, port } = new URL(world.url);
    const request = httpGet({ hostname, port, path: '/api/v1/test-stream', headers, agent: false }, (response) => {
      response.once('data', () => {
        response.pause();
        request.destroy();
      });
    });
    request.on('error', () => undefined);
    await eventually('the stream is ended', async () => ended === 1);
    expect(given).to.be.lessThan(1000);
  });
});
