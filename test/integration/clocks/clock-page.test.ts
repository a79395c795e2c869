import { expect } from 'chai';
import { packReceipts } from '../../../server/heartbeats/receipt-ring.js';
import type { ClockDto } from '../../../server/clocks/clock-dto.js';
import { composeClocks } from '../../../server/clocks/index.js';
import { ComputerEntity, ComputerRevisionEntity } from '../../../server/computers/index.js';
import { composeDiagnosis } from '../../../server/diagnosis/index.js';
import type { DiagnosisDto } from '../../../server/diagnosis/diagnosis-dto.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/policy-entity.js';
import { startComputers, type ComputerWorld } from '../../support/computer-world.js';
import { useDatabase } from '../../support/database.js';
import { callerOf, problemOf } from '../../support/domain-world.js';

const UNKNOWN = '7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d';
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const RECEIPTS = 12;

describe('the clock of a computer', () => {
  const database = useDatabase({
    entities: [PolicyEntity, PolicyRevisionEntity, ComputerEntity, ComputerRevisionEntity],
  });
  let world: ComputerWorld;
  let call: ReturnType<typeof callerOf>;

  before(async () => {
    world = await startComputers(database);
    const prober = { probe: async () => ({ result: 'answered' as const, detail: null, hostUp: true }) };
    const more = [...composeClocks(world).routes, ...composeDiagnosis({ ...world, prober }).routes];
    call = callerOf([...world.routes, ...more]);
  });

  const now = () => world.clock.fleet();
  const sql = (text: string, ...values: unknown[]) => database.pool.query(text, values);
  const get = async (id: string, query: object = {}) =>
    (await call<ClockDto>('get', '/computers/:id/clock', { params: { id }, query })).body;
  const shown = (instant: number) => new Date(world.clock.toWall(instant)).toISOString();

  /** One that was heard every minute until now, by a clock that was beside by so much at each receipt. */
  const heard = async (offsetAt: (n: number) => number, { body = {}, roundTripMs = 8 } = {}): Promise<string> => {
    const { id } = await world.makeComputer(body);
    world.clock.advance(DAY);
    await world.hear(id);
    const receipts = Array.from({ length: RECEIPTS }, (_none, n) => ({
      receivedAt: now() - (RECEIPTS - 1 - n) * MINUTE,
      latenessMs: 0,
      clockOffsetMs: Math.round(offsetAt(n)),
      latencyMs: roundTripMs,
    }));
    await sql(
      'INSERT INTO heartbeat_rings (computer_id, ring, updated_fleet_ms) VALUES ($1, $2, 0)',
      id,
      packReceipts(receipts),
    );
    return id;
  };
  const tell = (id: string, kind: string, { code = null as number | null, data = {}, at = now() } = {}) =>
    sql(
      `INSERT INTO events (id, partition_at, computer_id, lane, epoch, sequence, occurred_ms, received_fleet_ms, kind, code, severity, message, data)
       VALUES (gen_random_uuid(), to_timestamp($5::bigint / 1000.0), $1, 'control', 'e1', 1, $5, $5, $2, $3, 'medium', 'told', $4)`,
      id,
      kind,
      code,
      JSON.stringify(data),
      Math.floor(at),
    );

  it('is nothing for a computer that is not there, and no range that ends before it begins', async () => {
    expect((await problemOf(get(UNKNOWN))).code).to.equal('computer-not-found');
    const id = await heard(() => 0);
    const query = { from: shown(now()), to: shown(now() - 1000) };
    expect((await problemOf(get(id, query))).code).to.equal('request-invalid');
  });

  it('is unknown before the second exchange', async () => {
    const { id } = await world.makeComputer();
    expect(await get(id)).to.deep.include({
      offsetMs: null,
      errorBoundMs: null,
      roundTripMs: null,
      sampledAt: null,
      drift: null,
      classification: 'unknown',
      since: null,
      means: 'the offset is unknown',
      detectedBy: 'manager',
      samples: [],
      steps: [],
    });
  });

  it('shows the offset with its bound, the samples, and the limits with their sources', async () => {
    const policy = await world.makePolicy(world.base.id, { clockDriftLimitSeconds: 120 });
    const id = await heard(() => 250, { body: { policyId: policy.id } });
    await world.patchSettings(id, { clockChangeLimitSeconds: 'unlimited' });
    const page = await get(id);
    // The newest sample is of a minute ago: 500 ppm of that may have come on.
    expect(page).to.deep.include({
      offsetMs: 250,
      errorBoundMs: 37,
      roundTripMs: 8,
      classification: 'in-order',
      advice: [],
    });
    expect(page.sampledAt).to.equal(shown(now() - MINUTE));
    expect(page.samples).to.have.length(RECEIPTS - 1);
    expect(page.samples[0]).to.deep.equal({
      instant: shown(now() - 11 * MINUTE),
      offsetMs: 250,
      errorBoundMs: 7,
      roundTripMs: 8,
    });
    expect(page.drift).to.deep.equal({
      ppm: 0,
      boundPpm: 23.4,
      isSteady: true,
      since: shown(now() - 11 * MINUTE),
      samples: 11,
    });
    expect(page.limits).to.deep.equal({
      clockChangeLimitSeconds: {
        value: 'unlimited',
        inherited: false,
        source: { kind: 'computer', id, name: (await world.read(id)).name },
      },
      clockDriftLimitSeconds: {
        value: 120,
        inherited: true,
        source: { kind: 'policy', id: policy.id, name: policy.name },
      },
    });
  });

  it('shows the samples of a range', async () => {
    const id = await heard(() => 0);
    const query = { from: shown(now() - 6 * MINUTE), to: shown(now() - 4 * MINUTE) };
    const { samples, classification } = await get(id, query);
    expect(samples.map(({ instant }) => instant)).to.deep.equal(
      [6, 5, 4].map((minutes) => shown(now() - minutes * MINUTE)),
    );
    expect(classification).to.equal('in-order');
    expect((await get(id, { from: shown(now() + DAY) })).samples).to.have.length(0);
  });

  it('tells of a zone, with what to do, and so does the diagnosis', async () => {
    const id = await heard(() => HOUR);
    const page = await get(id);
    expect(page.classification).to.equal('time-zone-or-dst');
    expect(page.means).to.equal(
      'the offset is 3,600 s: a time zone or DST setting on a computer whose hardware clock is in local time',
    );
    expect(page.evidence.map(({ code }) => code)).to.deep.equal(['offset', 'drift', 'whole-hours']);
    const { evidence, advice } = (await call<DiagnosisDto>('get', '/computers/:id/diagnosis', { params: { id } })).body;
    expect(evidence.find(({ code }) => code === 'clock-offset')?.detail).to.equal(
      'Its clock: the offset is 3,600 s: a time zone or DST setting on a computer whose hardware clock is in local time.',
    );
    expect(advice).to.include.members([...page.advice]);
  });

  it('tells of a drift with its rate', async () => {
    const { classification, drift, since } = await get(await heard((n) => 60 * n));
    expect([classification, drift?.ppm, drift?.isSteady]).to.deep.equal(['steady-drift', 1000, true]);
    expect(since).to.equal(shown(now() - 11 * MINUTE));
  });

  it('lists the steps that the agent told and those that samples and alerts show, each once', async () => {
    const id = await heard((n) => (n < 4 ? 0 : n < 9 ? 90_000 : 91_500));
    await tell(id, 'clock-changed', { code: 5004, data: { stepMs: 90_010 }, at: now() - 6 * MINUTE });
    await tell(id, 'computer-resumed', { data: { suspendedMs: 5000 }, at: now() - 2 * DAY });
    await tell(id, 'clock-changed', { code: 5004, data: { stepMs: 'far' } });
    const latest = {
      stepMs: -7_200_000,
      withinMs: 2000,
      offsetAfterMs: 0,
      between: [shown(now() - 3 * DAY), shown(now() - 3 * DAY + MINUTE)],
    };
    await sql(
      `INSERT INTO alerts (id, type, subject, computer_id, severity, state, raised_fleet_ms, reason, detail)
       VALUES (gen_random_uuid(), 'clock-changed', $1::text, $1::uuid, 'high', 'dismissed', $2, 'clock-changed', $3)`,
      id,
      now() - 3 * DAY,
      JSON.stringify({ latest }),
    );
    const page = await get(id);
    expect(
      page.steps.map(({ kind, source, byMs, isAboveLimit }) => `${kind} ${source} ${byMs} ${isAboveLimit}`),
    ).to.deep.equal([
      'step manager 1500 false',
      'step agent 90000 true',
      'suspend agent 0 false',
      'time-zone-or-dst manager -7200000 true',
    ]);
    expect(page.classification).to.equal('step');
    expect(page.steps[1]).to.deep.include({ from: shown(now() - 9 * MINUTE), until: shown(now() - 8 * MINUTE) });
    const { steps } = await get(id, { from: shown(now() - HOUR) });
    expect(steps).to.have.length(2);
  });

  it('knows a fantastic clock by one way alone', async () => {
    const { id } = await world.makeComputer();
    await world.hear(id);
    await sql(
      'UPDATE computer_live SET clock_offset_ms = $2, clock_sampled_fleet_ms = $3 WHERE computer_id = $1',
      id,
      DAY - now(),
      now(),
    );
    const page = await get(id);
    expect(page).to.deep.include({
      offsetMs: -now(),
      errorBoundMs: DAY,
      roundTripMs: null,
      classification: 'standing-offset',
    });
    expect(page.samples).to.deep.equal([]);
  });

  it('accuses no computer for the manager’s own clock', async () => {
    const id = await heard(() => 600_000);
    await sql(
      `INSERT INTO events (id, partition_at, computer_id, lane, epoch, sequence, occurred_ms, received_fleet_ms, kind, severity, message, data)
       VALUES (gen_random_uuid(), to_timestamp($1::bigint / 1000.0), NULL, 'manager', 'm', 1, $1, $1, 'manager-clock-doubted', 'medium', 'm', $2)`,
      now() - MINUTE,
      JSON.stringify({ found: 'beside', offsetMs: 600_300, computers: 40, of: 41 }),
    );
    const page = await get(id);
    expect([page.classification, page.since]).to.deep.equal(['manager-step', shown(now() - MINUTE)]);
    expect(page.evidence.at(-1)).to.deep.include({
      code: 'most-computers',
      values: { offsetMs: 600_300, computers: 40 },
    });
    expect(page.advice[0]).to.contain("manager's clock");
  });
});
