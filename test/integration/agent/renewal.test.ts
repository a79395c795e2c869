import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Daemon } from '../../../agent/daemon.js';
import { dataDirectory, readIdentity } from '../../../agent/data-directory.js';
import { lifeOf, renewalDueAt } from '../../../agent/renewal-rules.js';
import { createSystemClock } from '../../../lib/clock.js';
import { composeInProcess, enrollInProcess } from '../../support/agent-in-process.js';
import { startAgentPort, type AgentPort } from '../../support/agent-port.js';
import { temporaryFolder, until } from '../../support/agent-process.js';
import { useDatabase } from '../../support/database.js';
import { changePolicy, seedForest } from '../../support/ingest-world.js';

const DAY_MS = 86_400_000;
const PATIENCE_MS = 20_000;
const system = createSystemClock();

interface Row {
  readonly serial: string;
  readonly revoked_reason: string | null;
}

describe('an agent whose certificate comes to its half', function () {
  this.timeout(90_000);
  const database = useDatabase();
  let folder: ReturnType<typeof temporaryFolder>;
  let port: AgentPort;
  let daemon: Daemon | undefined;
  /** Both clocks of the computer at once, as time does. */
  let elapsedMs = 0;
  const clock = { ...system, wall: () => system.wall() + elapsedMs, boot: () => system.boot() + elapsedMs };

  const directory = () => dataDirectory(join(folder.path, 'web1'));
  const url = () => `https://127.0.0.1:${port.server.port()}`;
  const serial = () => daemon!.status().certificate.serial;
  const rows = async (): Promise<Row[]> =>
    (
      await database.pool.query<Row>(
        'SELECT serial, revoked_reason FROM certificates WHERE computer_id = $1 ORDER BY issued_at, serial',
        [daemon!.computerId],
      )
    ).rows;
  /** Time passes for both sides. */
  const pass = (ms: number): void => {
    elapsedMs += ms;
    port.world.clock.now += ms;
  };
  const open = async (): Promise<Daemon> => {
    daemon = await composeInProcess(directory(), { clock });
    await daemon.start();
    return daemon;
  };
  const online = () => until('it is online', () => daemon!.status().state === 'online', PATIENCE_MS);
  const renewedFrom = (before: string) =>
    until(
      'another certificate is in force',
      () => serial() !== before && !existsSync(directory().renewalFile),
      PATIENCE_MS,
    );
  const enroll = async () => {
    await enrollInProcess(directory(), { url: url(), token: await port.addToken() }, { clock });
    return lifeOf(readIdentity(directory())!.certificatePem);
  };

  before(() => seedForest(database.pool));

  beforeEach(async () => {
    elapsedMs = 0;
    await changePolicy(database.pool, { communicationDirection: 'agentInitiated', heartbeatIntervalSeconds: 5 });
    folder = temporaryFolder();
    port = await startAgentPort(database.pool, { perAddressPerSecond: 1000, totalPerSecond: 1000 });
    await port.world.settings.refresh();
  });

  afterEach(async () => {
    await daemon?.abort();
    daemon = undefined;
    await port.stop();
    folder.remove();
  });

  it('has another by its next exchanges, and is known by it after a restart', async () => {
    const first = await enroll();
    await open();
    await online();
    pass(renewalDueAt(first) - port.world.clock.now - DAY_MS);
    const before = daemon!.status().lastExchangeAt;
    await until('it has reported again', () => daemon!.status().lastExchangeAt !== before, PATIENCE_MS);
    expect(serial(), 'a day before it nothing is renewed').to.equal(first.serial);
    const owner = (): unknown => JSON.parse(readFileSync(directory().identityFile, 'utf8')).owner;
    expect(owner()).to.equal(undefined);
    pass(DAY_MS + 60_000);
    await renewedFrom(first.serial);
    const renewed = serial();
    expect((await rows()).map(({ serial: one, revoked_reason: reason }) => [one, reason])).to.deep.equal([
      [first.serial, 'superseded'],
      [renewed, null],
    ]);
    expect(owner(), 'whose state it is stays').to.be.a('string');
    const { settings } = daemon!.status();
    await daemon!.abort();
    await open();
    expect(daemon!.status().settings.applied, 'nothing of the state is forgotten').to.equal(settings.applied);
    await online();
    expect(serial()).to.equal(renewed);
    expect(lifeOf(readIdentity(directory())!.certificatePem).serial).to.equal(renewed);
  });

  it('asks after a sleep that was longer than that', async () => {
    const first = await enroll();
    await open();
    await online();
    // What was held is gone after so long, and both clocks have gone on.
    pass(25 * DAY_MS);
    await renewedFrom(first.serial);
  });

  it('renews what has expired with its own key, and goes on', async () => {
    const first = await enroll();
    const { keyPem } = readIdentity(directory())!;
    pass(33 * DAY_MS);
    await open();
    await online();
    await until('it is kept', () => !existsSync(directory().renewalFile), PATIENCE_MS);
    expect(serial()).not.to.equal(first.serial);
    expect(readIdentity(directory())!.keyPem).to.equal(keyPem);
  });

  it('is told that it has expired for too long, and stays enrolled', async () => {
    await enroll();
    pass(40 * DAY_MS);
    await open();
    await until('it is refused', () => daemon!.status().state === 'refused', PATIENCE_MS);
    expect(daemon!.status().lastError).to.deep.include({ code: 'renewal-refused' });
    expect(daemon!.status().lastError!.detail).to.contain('renewAfterExpiryDays');
    expect(readIdentity(directory())).not.to.equal(undefined);
  });

  it('is told the time where its certificate only begins for the manager, and goes on when that is mended', async () => {
    await enroll();
    port.world.clock.now -= DAY_MS;
    await open();
    await until('it is told', () => daemon!.status().lastError?.code === 'clock-skew', PATIENCE_MS);
    expect(daemon!.status().lastError!.detail).to.contain(new Date(port.world.clock.now).toISOString().slice(0, 16));
    port.world.clock.now += DAY_MS;
    await online();
  });

  it('uses what it was given before a crash, and goes back where that is refused', async () => {
    const first = await enroll();
    await open();
    await online();
    pass(20 * DAY_MS);
    await renewedFrom(first.serial);
    const good = serial();
    const kept = readIdentity(directory())!;
    await daemon!.abort();
    // A crash after a renewal was stored, of which the manager knows that it was revoked.
    const bad = port.identityOf(daemon!.computerId);
    writeFileSync(directory().renewalFile, bad.key + bad.cert, { mode: 0o600 });
    const badSerial = lifeOf(bad.cert).serial;
    await database.pool.query(
      `INSERT INTO certificates (serial, computer_id, key_digest, pem, not_before, not_after, issued_at, revoked_at, revoked_reason)
       SELECT $1, computer_id, key_digest, pem, not_before, not_after, issued_at, issued_at, 'superseded'
       FROM certificates WHERE serial = $2`,
      [badSerial, good],
    );
    expect(lifeOf(readIdentity(directory())!.certificatePem).serial).to.equal(badSerial);
    await open();
    await online();
    await until('the other one is gone', () => !existsSync(directory().renewalFile), PATIENCE_MS);
    expect(serial()).to.equal(good);
    expect(readIdentity(directory())!.keyPem).to.equal(kept.keyPem);
  });

  it('takes no harm from a damaged renewal, another computer’s, or one half put in place', async () => {
    const first = await enroll();
    const { keyPem, certificatePem } = readIdentity(directory())!;
    for (const text of ['', 'nothing', keyPem, port.identityOf('99999999-9999-4999-8999-999999999999').cert]) {
      writeFileSync(directory().renewalFile, text, { mode: 0o600 });
      expect(lifeOf(readIdentity(directory())!.certificatePem).serial).to.equal(first.serial);
    }
    // The key took its place, the certificate did not: both are still in the one file.
    const next = port.identityOf(readIdentity(directory())!.computerId);
    writeFileSync(directory().renewalFile, next.key + next.cert, { mode: 0o600 });
    writeFileSync(directory().keyFile, next.key, { mode: 0o600 });
    expect(lifeOf(readIdentity(directory())!.certificatePem).serial).to.equal(lifeOf(next.cert).serial);
    expect(lifeOf(certificatePem).serial).to.equal(first.serial);
    await open();
    await online();
    await until('it is put in place', () => !existsSync(directory().renewalFile), PATIENCE_MS);
    expect(readIdentity(directory())!.keyPem).to.equal(next.key);
  });
});
