import { expect } from 'chai';
import { createHash } from 'node:crypto';
import {
  FIRST_PREVIOUS_HASH,
  parseCheckpoint,
  renderCheckpoint,
  rowHash,
  sealHash,
  sealHashOfRow,
  sealRow,
  toHashedInstant,
  type SealedRow,
} from '../../../server/audit/seal-rules.js';

const ROW: SealedRow = {
  id: '01890000-0000-4000-8000-000000000001',
  at: '2026-11-21T12:00:00.123456Z',
  actor_id: 'u1',
  actor_name: 'ada',
  source_address: null,
  action: 'policy.changed',
  subject_type: 'policy',
  subject_id: 'p1',
  before: null,
  after: '{"a": 1}',
  transaction_id: '77',
};

describe('the hash of a seal of format 1', () => {
  it('is SHA-256 over the hash before and the canonical JSON of the row', () => {
    const json =
      '{"action":"policy.changed","actor_id":"u1","actor_name":"ada","after":"{\\"a\\": 1}",' +
      '"at":"2026-11-21T12:00:00.123456Z","before":null,"id":"01890000-0000-4000-8000-000000000001",' +
      '"source_address":null,"subject_id":"p1","subject_type":"policy","transaction_id":"77"}';
    const expected = createHash('sha256')
      .update(Buffer.concat([Buffer.alloc(32), Buffer.from(json)]))
      .digest('hex');
    expect(sealHashOfRow(FIRST_PREVIOUS_HASH, ROW).toString('hex')).to.equal(expected);
  });

  it('covers every member and the hash before', () => {
    const original = sealHashOfRow(FIRST_PREVIOUS_HASH, ROW);
    for (const key of Object.keys(ROW) as (keyof SealedRow)[])
      expect(sealHashOfRow(FIRST_PREVIOUS_HASH, { ...ROW, [key]: 'x' }).equals(original), key).to.equal(false);
    expect(sealHashOfRow(original, ROW).equals(original)).to.equal(false);
  });
});

describe('a seal of format 2', () => {
  const look = { at: toHashedInstant(0), settled: '70', next: '72' };
  const first = sealRow(undefined, ROW, { cluster: '7', sealedAt: toHashedInstant(1), look });

  it('hashes the hash before and the canonical JSON of its columns, the hash of the row among them', () => {
    const json =
      `{"cluster":"7","format":2,"looked_at":"1970-01-01T00:00:00.000000Z","looked_next":"72","looked_settled":"70",` +
      `"number":1,"row_hash":"${rowHash(ROW).toString('hex')}","sealed_at":"1970-01-01T00:00:00.001000Z"}`;
    const expected = createHash('sha256')
      .update(Buffer.concat([Buffer.alloc(32), Buffer.from(json)]))
      .digest('hex');
    expect(first.hash.toString('hex')).to.equal(expected);
    const second = sealRow(first, ROW, { cluster: '7', sealedAt: toHashedInstant(1), look });
    expect(second).to.include({ number: 2, previousHash: first.hash });
    expect(second.hash.equals(first.hash)).to.equal(false);
  });

  it('covers every column of its own', () => {
    const others = [
      { number: 2 },
      { cluster: '8' },
      { sealedAt: toHashedInstant(2) },
      { format: 3 },
      { rowHash: null },
      { look: null },
      ...Object.keys(look).map((key) => ({ look: { ...look, [key]: '9' } })),
    ];
    for (const other of others)
      expect(sealHash(FIRST_PREVIOUS_HASH, { ...first, ...other }).equals(first.hash)).to.equal(false);
  });

  it('covers every member of the row', () => {
    for (const key of Object.keys(ROW) as (keyof SealedRow)[])
      expect(rowHash({ ...ROW, [key]: 'x' }).equals(rowHash(ROW)), key).to.equal(false);
  });
});

describe('a checkpoint', () => {
  it('is read as it is written', () => {
    const checkpoint = { number: 12, hash: 'ab'.repeat(32) };
    expect(parseCheckpoint(renderCheckpoint(checkpoint))).to.deep.equal(checkpoint);
  });

  it('is nothing else', () => {
    const hash = 'ab'.repeat(32);
    for (const text of ['', '12', `0:${hash}`, `-1:${hash}`, `1:${hash}0`, `1:${hash.toUpperCase()}`, `1 :${hash}`])
      expect(parseCheckpoint(text), text).to.equal(undefined);
  });
});
