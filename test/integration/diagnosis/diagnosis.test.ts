import { expect } from 'chai';
import { ComputerEntity, ComputerRevisionEntity } from '../../../server/computers/index.js';
import { composeDiagnosis } from '../../../server/diagnosis/index.js';
import type { DiagnosisDto, ProbeDto } from '../../../server/diagnosis/diagnosis-dto.js';
import type { ProbeOutcome } from '../../../server/dials/index.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/policy-entity.js';
import { startComputers, type ComputerWorld } from '../../support/computer-world.js';
import { useDatabase } from '../../support/database.js';
import { ADA, callerOf, problemOf } from '../../support/domain-world.js';

const UNKNOWN = '7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d';
const MINUTE = 60_000;
const DAY = 86_400_000;

describe('the diagnosis of a computer', () => {
  const database = useDatabase({
    entities: [PolicyEntity, PolicyRevisionEntity, ComputerEntity, ComputerRevisionEntity],
  });
  let world: ComputerWorld;
  let call: ReturnType<typeof callerOf>;
  let outcome: ProbeOutcome;
  const probed: string[] = [];

  before(async () => {
    world = await startComputers(database);
    const prober = {
      probe: async (id: string) => {
        probed.push(id);
        return outcome;
      },
    };
    call = callerOf([...world.routes, ...composeDiagnosis({ ...world, prober }).routes]);
  });
  beforeEach(() => {
    world.setSpans([]);
    probed.length = 0;
  });

  const now = () => world.clock.fleet();
  const sql = (text: string, ...values: unknown[]) => database.pool.query(text, values);
  const get = async (id: string) =>
    (await call<DiagnosisDto>('get', '/computers/:id/diagnosis', { params: { id } })).body;
  const codes = ({ evidence }: DiagnosisDto) => evidence.map(({ source, code }) => `${source} ${code}`);
  /** One that was heard five minutes ago and is offline since two. */
  const silent = async (body: object = {}): Promise<string> => {
    const { id } = await world.makeComputer(body);
    await world.hear(id);
    await sql('UPDATE computers SET enrolled_fleet_ms = $2 WHERE id = $1', id, now());
    world.clock.advance(5 * MINUTE);
    await sql(
      "UPDATE computer_status SET status = 'offline', reason = 'unknown', since_fleet_ms = $2 WHERE computer_id = $1",
      id,
      now() - 2 * MINUTE,
    );
    return id;
  };
  const refusedDial = (id: string, at = now()) =>
    sql(
      `INSERT INTO computer_dials (computer_id, last_begun_fleet_ms, last_ended_fleet_ms, last_result, last_detail, last_host_up, failures)
       VALUES ($1, $2, $2, 'refused', 'connect ECONNREFUSED', true, 2)`,
      id,
      at,
    );

  it('is nothing for a computer that is not there', async () => {
    expect((await problemOf(get(UNKNOWN))).code).to.equal('computer-not-found');
  });

  it('answers for a record, for one in contact, and for one that is said to be stopped', async () => {
    const { id } = await world.makeComputer();
    const pending = await get(id);
    expect(pending).to.deep.include({ status: 'pending', reason: 'never-seen', confidence: 'high', hostUp: null });
    await world.hear(id);
    const online = await get(id);
    expect(online).to.deep.include({ status: 'online', reason: 'in-contact', confidence: 'high', hostUp: true });
    expect(codes(online)).to.include('manager last-heard');
    const body = { state: 'stopped', source: 'vcenter' };
    await call('put', '/computers/:id/power-state', { params: { id }, body });
    const stopped = await get(id);
    expect(stopped).to.deep.include({ status: 'stopped', reason: 'power-stopped', confidence: 'high' });
    const told = stopped.evidence.find(({ source }) => source === 'operator');
    expect(told).to.deep.include({ code: 'power-stopped', detail: 'vcenter said that the machine is stopped.' });
  });

  it('knows nothing but the silence, and says so with its instants', async () => {
    const id = await silent();
    const shown = await get(id);
    expect(shown).to.deep.include({ status: 'offline', reason: 'unknown', confidence: 'low', hostUp: null });
    expect(shown.since).to.equal(new Date(world.clock.wall() - 2 * MINUTE).toISOString());
    const heard = shown.evidence.find(({ code }) => code === 'last-heard');
    expect(heard?.at).to.equal(new Date(world.clock.wall() - 5 * MINUTE).toISOString());
    expect(shown.advice).to.have.length.above(0);
  });

  it('tells of a failed dial, and of a machine that is up', async () => {
    const id = await silent();
    await sql('UPDATE computer_live SET seen_by_dial_fleet_ms = last_seen_fleet_ms WHERE computer_id = $1', id);
    await refusedDial(id);
    const shown = await get(id);
    expect(shown).to.deep.include({ reason: 'refused', confidence: 'high', hostUp: true });
    expect(shown.evidence[0]).to.deep.include({ source: 'dial', code: 'refused' });
    expect(shown.evidence[0]?.detail).to.equal(
      'Connect ECONNREFUSED. The machine answered. Dials in a row that failed: 2.',
    );
  });

  it('believes a refusal less where the agent does not listen, or could not', async () => {
    const id = await silent();
    await sql('UPDATE computer_live SET seen_by_dial_fleet_ms = last_seen_fleet_ms WHERE computer_id = $1', id);
    await refusedDial(id);
    const contact = (direction: string, listener: string) =>
      sql(
        `INSERT INTO computer_contacts (computer_id, direction, listener_state) VALUES ($1, $2, $3)
         ON CONFLICT (computer_id) DO UPDATE SET direction = EXCLUDED.direction, listener_state = EXCLUDED.listener_state`,
        id,
        direction,
        listener,
      );
    const found = [];
    for (const [direction, listener] of [
      ['bidirectional', 'listening'],
      ['bidirectional', 'failed'],
      ['agentInitiated', 'closed'],
    ] as const) {
      await contact(direction, listener);
      const { reason, confidence, hostUp } = await get(id);
      found.push([reason, confidence, hostUp]);
    }
    expect(found).to.deep.equal([
      ['refused', 'high', true],
      ['refused', 'medium', true],
      ['refused', 'medium', true],
    ]);
  });

  it('probes: tells of one in contact that it refuses connections since, until it is heard again', async () => {
    const { id } = await world.makeComputer();
    await world.hear(id);
    await sql('UPDATE computer_live SET seen_by_dial_fleet_ms = last_seen_fleet_ms WHERE computer_id = $1', id);
    world.clock.advance(1000);
    outcome = { result: 'refused', detail: 'connect ECONNREFUSED', hostUp: true };
    await call('post', '/computers/:id/probe', { params: { id } });
    const refused = await get(id);
    expect(refused).to.deep.include({ status: 'online', reason: 'refused', confidence: 'high', hostUp: true });
    expect(refused.advice.join()).to.include('its agent does not');
    world.clock.advance(1000);
    await world.hear(id);
    expect(await get(id)).to.deep.include({ status: 'online', reason: 'in-contact', confidence: 'high' });
  });

  it('probes: one that the manager had no room for hides nothing that was seen', async () => {
    const id = await silent();
    await refusedDial(id, now() - MINUTE);
    outcome = { result: 'own', detail: 'Too many connections are open.', hostUp: null };
    await call('post', '/computers/:id/probe', { params: { id } });
    const shown = await get(id);
    expect(shown).to.deep.include({ reason: 'refused', hostUp: true });
    expect(codes(shown)).to.include('probe own');
  });

  it("tells of the agent's goodbye, clock and last error", async () => {
    const id = await silent();
    const seen = now() - 5 * MINUTE;
    await sql(
      `UPDATE computer_status SET goodbye_reason = 'update', goodbye_fleet_ms = $2, goodbye_expected_ms = 90000 WHERE computer_id = $1`,
      id,
      seen,
    );
    await sql(
      'UPDATE computer_live SET clock_offset_ms = $2, clock_error_ms = 5, clock_sampled_fleet_ms = $3 WHERE computer_id = $1',
      id,
      DAY + 120_000,
      seen,
    );
    await sql(
      `INSERT INTO computer_facts (computer_id, facts, agent_version, platform, protocol_version, capabilities, carrier,
         last_transport_error, observed_address, updated_fleet_ms)
       VALUES ($1, '{}', '0.1.0', 'linux-x64', 1, '{}', 'https', $2, '10.1.2.3', 0)`,
      id,
      JSON.stringify({ code: 'dns', at: seen + DAY + 120_000 - 1000, detail: 'ENOTFOUND <b>' }),
    );
    const shown = await get(id);
    expect(shown).to.deep.include({ reason: 'goodbye-update', confidence: 'high' });
    expect(codes(shown)).to.include.members(['agent goodbye-update', 'agent dns', 'agent clock-offset']);
    const error = shown.evidence.find(({ code }) => code === 'dns');
    expect(error).to.deep.equal({
      at: new Date(world.clock.wall() - 5 * MINUTE - 1000).toISOString(),
      source: 'agent',
      code: 'dns',
      detail: 'Before its last report it could not reach the manager: ENOTFOUND <b>',
    });
  });

  it('tells of refusals, newest first', async () => {
    const id = await silent();
    await sql(
      `INSERT INTO computer_refusals (computer_id, code, refused_fleet_ms, source_address, detail)
       VALUES ($1, 'tls-expired', ARRAY[$2::bigint, $3::bigint], '10.1.2.3', 'The certificate has expired.')`,
      id,
      now() - 2 * MINUTE,
      now() - MINUTE,
    );
    const shown = await get(id);
    expect(shown).to.deep.include({ reason: 'tls-expired', confidence: 'high', hostUp: true });
    const texts = shown.evidence.filter(({ code }) => code === 'tls-expired').map(({ detail }) => detail);
    expect(texts).to.deep.equal([
      'It was refused: its certificate had expired. The certificate has expired. It came from 10.1.2.3.',
      'It was refused: its certificate had expired.',
    ]);
  });

  it("tells of an expired certificate, by trusted time, and not of a computer's revoked ones", async () => {
    const id = await silent();
    const insert = (serial: string, notAfter: number, revokedAt: number | null) =>
      sql(
        `INSERT INTO certificates (serial, computer_id, key_digest, pem, not_before, not_after, issued_at, revoked_at)
         VALUES ($1, $2, '', '', to_timestamp(0), to_timestamp($3 / 1000.0), to_timestamp(0), to_timestamp($4 / 1000.0))`,
        serial,
        id,
        notAfter,
        revokedAt,
      );
    await insert('aa', world.clock.wall() - MINUTE, null);
    await insert('bb', world.clock.wall() + DAY, 1);
    const shown = await get(id);
    expect(shown).to.deep.include({ reason: 'tls-expired', confidence: 'medium' });
    expect(shown.evidence[0]).to.deep.include({
      at: new Date(world.clock.wall() - MINUTE).toISOString(),
      code: 'certificate-expired',
    });
  });

  it('tells of the mass outage, the maintenance, our own deafness, a gap, and settings that are tried out', async () => {
    const policy = await world.makePolicy(world.base.id, {
      maintenanceWindows: [{ cron: '0 11 * * *', durationMinutes: 360, timeZone: 'UTC' }],
    });
    const id = await silent({ policyId: policy.id });
    const incident = '0c0ffee0-0000-4000-8000-00000000abcd';
    await sql(
      `INSERT INTO alerts (id, type, severity, state, subject, computer_id, raised_fleet_ms, reason, detail, incident_id)
       VALUES ($1, 'mass-outage', 'critical', 'raised', 'subnet/10.1.2.0/24', NULL, $3, 'unknown', '{}', NULL),
         (gen_random_uuid(), 'computer-offline', 'high', 'raised', $2::text, $2::uuid, $3, 'unknown', '{}', $1)`,
      incident,
      id,
      now(),
    );
    await sql(
      `INSERT INTO computer_contacts (computer_id, direction, candidate_state, candidate_since_fleet_ms) VALUES ($1, 'bidirectional', 'proving', $2)`,
      id,
      now(),
    );
    await sql(
      `INSERT INTO heartbeat_gaps (id, partition_at, computer_id, from_fleet_ms, until_fleet_ms, interval_ms, deaf_ms)
       VALUES (gen_random_uuid(), to_timestamp($4 / 1000.0), $1, $2, $3, 60000, 4000)`,
      id,
      now() - 30 * MINUTE,
      now() - 20 * MINUTE,
      world.clock.wall(),
    );
    world.setSpans([
      { from: now() - 40 * MINUTE, until: now() - 35 * MINUTE },
      { from: now() - 2 * MINUTE, until: now() - MINUTE },
    ]);
    const shown = await get(id);
    expect(codes(shown)).to.include.members([
      'manager mass-outage',
      'manager alert-computer-offline',
      'policy maintenance',
      'policy settings-proving',
      'manager not-listening',
      'manager gap',
    ]);
    expect(shown.evidence.filter(({ code }) => code === 'not-listening')).to.have.length(1);
    expect(shown.advice).to.have.length(5);
    expect(shown.evidence.map(({ at }) => at)).to.deep.equal(
      shown.evidence.map(({ at }) => at).toSorted((a, b) => b.localeCompare(a)),
    );
  });

  it('shows no more than fifty pieces of evidence', async () => {
    const id = await silent();
    for (const code of [
      'tls-expired',
      'tls-not-yet-valid',
      'revoked',
      'identity-mismatch',
      'throttled',
      'x',
      'y',
      'z',
      'v',
      'w',
    ])
      await sql(
        'INSERT INTO computer_refusals (computer_id, code, refused_fleet_ms) VALUES ($1, $2, ARRAY[1, 2, 3, 4, 5, $3]::bigint[])',
        id,
        code,
        now(),
      );
    expect((await get(id)).evidence).to.have.length(50);
  });

  it('probes: answers what it found, keeps it as evidence, and audits it', async () => {
    const id = await silent();
    outcome = { result: 'unreachable', detail: 'connect EHOSTUNREACH\0', hostUp: false };
    const { body } = await call<ProbeDto>('post', '/computers/:id/probe', { params: { id } });
    expect(body).to.deep.equal({
      at: new Date(world.clock.wall()).toISOString(),
      result: 'unreachable',
      detail: 'connect EHOSTUNREACH',
      hostUp: false,
    });
    expect(probed).to.deep.equal([id]);
    const { actor, action, subjectId, after } = world.audit.entries.at(-1) ?? {};
    expect([actor?.id, action, subjectId, after]).to.deep.equal([
      ADA.id,
      'computer.probed',
      id,
      { result: 'unreachable', hostUp: false },
    ]);
    const shown = await get(id);
    expect(shown).to.deep.include({ reason: 'timeout', confidence: 'low', hostUp: false });
    expect(shown.evidence[0]).to.deep.include({ source: 'probe', code: 'unreachable' });
  });

  it('probes: one that answers is looked at again, and a stale failure of a dial counts no more', async () => {
    const id = await silent();
    await refusedDial(id, now() - MINUTE);
    outcome = { result: 'answered', detail: null, hostUp: true };
    world.reconsidered.length = 0;
    const reachable = async () =>
      (await call<{ listenerReachable: boolean | null }>('get', '/computers/:id', { params: { id } })).body
        .listenerReachable;
    expect(await reachable()).to.equal(false);
    await call('post', '/computers/:id/probe', { params: { id } });
    expect(await reachable()).to.equal(true);
    expect(world.reconsidered).to.deep.equal([id]);
    expect(await get(id)).to.deep.include({ reason: 'unknown', confidence: 'low', hostUp: true });
  });

  it('probes nothing that is not there, and forgets probe and refusals with the computer', async () => {
    expect((await problemOf(call('post', '/computers/:id/probe', { params: { id: UNKNOWN } }))).code).to.equal(
      'computer-not-found',
    );
    expect(probed).to.deep.equal([]);
    const id = await silent();
    outcome = { result: 'refused', detail: null, hostUp: true };
    await call('post', '/computers/:id/probe', { params: { id } });
    await sql(
      "INSERT INTO computer_refusals (computer_id, code, refused_fleet_ms) VALUES ($1, 'throttled', '{1}')",
      id,
    );
    await call('delete', '/computers/:id', { params: { id } });
    const { rows } = await sql(
      `SELECT computer_id FROM computer_probes WHERE computer_id = $1
       UNION ALL SELECT computer_id FROM computer_refusals WHERE computer_id = $1`,
      id,
    );
    expect(rows).to.deep.equal([]);
  });
});
