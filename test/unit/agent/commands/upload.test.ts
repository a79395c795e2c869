import { expect } from 'chai';
import type { UploadPart } from '../../../../protocol/upload-messages.js';
import { UPLOAD_PART_BYTES } from '../../../../protocol/upload-messages.js';
import { CommandFailure } from '../../../../agent/commands/executor.js';
import { Uploads } from '../../../../agent/commands/upload.js';
import type { ManagerConnection } from '../../../../agent/transport/tls-connection.js';
import { ManagerRefusal, TransportError } from '../../../../agent/transport/transport-error.js';
import { createSystemRandom } from '../../../../lib/random.js';
import { FakeClock } from '../../../support/fake-clock.js';

const refusal = (status: number, facts: { readonly retryAfterMs?: number } = {}) =>
  new ManagerRefusal('unknown', status, { detail: `The manager answered ${status}`, ...facts });

describe('a file on its way to the manager', () => {
  let clock: FakeClock;
  /** What the next posts come to; then all is taken. */
  let failures: Error[];
  let posts: { readonly at: number; readonly part: number }[];
  let isDialling: boolean;
  let uploads: Uploads;
  let life: AbortController;

  const connection: ManagerConnection = {
    managerUrl: undefined,
    carrier: { kind: 'dial', route: undefined },
    warning: undefined,
    post(_path, body) {
      posts.push({ at: clock.boot(), part: (JSON.parse(body) as UploadPart).part });
      const failure = failures.shift();
      return failure ? Promise.reject(failure) : Promise.resolve({});
    },
    close: () => undefined,
  };

  beforeEach(() => {
    [clock, failures, posts, isDialling, life] = [new FakeClock(), [], [], true, new AbortController()];
    // The longest pause of every back-off.
    const random = { ...createSystemRandom(), fraction: () => 1 };
    uploads = new Uploads({ clock, random, mayDial: () => isDialling, connect: () => Promise.resolve(connection) });
  });

  const send = (bytes = 3) =>
    uploads.send(
      { contentType: 'application/json', text: 'x'.repeat(bytes) },
      { commandId: '7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d', signal: life.signal },
    );
  const settled = (sending: Promise<unknown>) =>
    sending.then(
      () => 'taken',
      (error: unknown) => (error instanceof CommandFailure ? error.reason : String((error as Error).message)),
    );
  const pauses = () => posts.slice(1).map(({ at }, index) => at - (posts[index]?.at ?? 0));

  for (const status of [408, 429, 500, 502, 503])
    it(`is sent again after ${status}, more slowly each time`, async () => {
      failures = Array.from({ length: 8 }, () => refusal(status));
      const outcome = settled(send());
      await clock.advance(300_000);
      expect(await outcome).to.equal('taken');
      expect(pauses()).to.deep.equal([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    });

  for (const status of [400, 403, 404, 413])
    it(`is given up after ${status}`, async () => {
      failures = [refusal(status)];
      expect(await settled(send())).to.equal('upload-refused');
      expect(posts).to.have.length(1);
    });

  it('goes on with the part that was refused, at the pace of a first failure', async () => {
    const reset = new TransportError('reset', 'the connection was reset');
    failures = [reset, reset];
    const outcome = settled(send(2 * UPLOAD_PART_BYTES));
    await clock.advance(1000);
    // The second try, which fails, too; the third brings the first part, and the second part fails.
    failures.push(...([undefined, reset] as Error[]));
    await clock.advance(4000);
    expect(await outcome).to.equal('taken');
    expect(posts.map(({ part }) => part)).to.deep.equal([0, 0, 0, 1, 1]);
    expect(pauses()).to.deep.equal([1000, 2000, 0, 1000]);
  });

  it('waits as long as the manager asks for, at most a minute', async () => {
    failures = [refusal(429, { retryAfterMs: 20_000 }), refusal(503, { retryAfterMs: 900_000 })];
    const outcome = settled(send());
    await clock.advance(90_000);
    expect(await outcome).to.equal('taken');
    expect(pauses()).to.deep.equal([30_000, 60_000]);
  });

  it('is tried as long as its command lives', async () => {
    const gone = refusal(408);
    failures = Array.from({ length: 10_000 }, () => gone);
    const outcome = settled(send());
    await clock.advance(3_600_000);
    life.abort(new Error('its time is over'));
    expect(await outcome).to.equal('its time is over');
    expect(posts).to.have.length.above(60);
  });

  it('waits for the next connection that the manager opens where this one has no time for it', async () => {
    isDialling = false;
    failures = [refusal(408)];
    const outcome = settled(send());
    const first = await uploads.pump(connection, life.signal).catch((error: unknown) => error);
    expect(first).to.include({ status: 408 });
    await uploads.pump(connection, life.signal);
    expect(await outcome).to.equal('taken');
  });
});
