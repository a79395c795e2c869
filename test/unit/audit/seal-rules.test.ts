import { expect } from 'chai';
import { createHash } from 'node:crypto';
import {
  FIRST_PREVIOUS_HASH,
  parseCheckpoint,
  renderCheckpoint,
  sealHash,
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

describe('the hash of a seal', () => {
  it('is SHA-256 over the hash before and the canonical JSON of the row', () => {
    const json =
      '{"action":"policy.changed","actor_id":"u1","actor_name":"ada","after":"{\\"a\\": 1}",' +
      '"at":"2026-11-21T12:00:00.123456Z","before":null,"id":"01890000-0000-4000-8000-000000000001",' +
      '"source_address":null,"subject_id":"p1","subject_type":"policy","transaction_id":"77"}';
    const expected = createHash('sha256')
      .update(Buffer.concat([Buffer.alloc(32), Buffer.from(json)]))
      .digest('hex');
    expect(sealHash(FIRST_PREVIOUS_HASH, ROW).toString('hex')).to.equal(expected);
  });

  it('covers every member and the hash before', () => {
    const original = sealHash(FIRST_PREVIOUS_HASH, ROW);
    for (const key of Object.keys(ROW) as (keyof SealedRow)[])
      expect(sealHash(FIRST_PREVIOUS_HASH, { ...ROW, [key]: 'x' }).equals(original), key).to.equal(false);
    expect(sealHash(original, ROW).equals(original)).to.equal(false);
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
