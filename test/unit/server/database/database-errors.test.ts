import { expect } from 'chai';
import {
  isCertainRollback,
  isDataError,
  isTransientDatabaseError,
  sqlStateOf,
  uniqueViolation,
} from '../../../../server/database/database-errors.js';

const error = (message: string, fields: object = {}) => Object.assign(new Error(message), fields);
const wrapped = (inner: unknown) => error('query failed', { driverError: inner });

describe('database errors', () => {
  const table: readonly [string, unknown, { transient: boolean; certain: boolean; data: boolean }][] = [
    ['a serialization failure', error('', { code: '40001' }), { transient: true, certain: true, data: false }],
    ['a deadlock in a wrapper', wrapped(error('', { code: '40P01' })), { transient: true, certain: true, data: false }],
    ['a lock that timed out', error('', { code: '55P03' }), { transient: true, certain: true, data: false }],
    ['a shutdown', error('', { code: '57P01' }), { transient: true, certain: false, data: false }],
    ['a server that starts', error('', { code: '57P03' }), { transient: true, certain: false, data: false }],
    ['class 08', error('', { code: '08006' }), { transient: true, certain: false, data: false }],
    ['a refused connection', error('', { code: 'ECONNREFUSED' }), { transient: true, certain: false, data: false }],
    ['a broken pipe', error('', { code: 'EPIPE' }), { transient: true, certain: false, data: false }],
    [
      'a lost connection',
      error('Connection terminated unexpectedly'),
      { transient: true, certain: false, data: false },
    ],
    [
      'a dead client',
      error('Client has encountered a connection error and is not queryable'),
      { transient: true, certain: true, data: false },
    ],
    [
      'a released runner',
      error('Query runner already released. Cannot run queries anymore.'),
      { transient: true, certain: true, data: false },
    ],
    ['a cancelled statement', error('', { code: '57014' }), { transient: false, certain: true, data: false }],
    ['a bad value', error('', { code: '22P02' }), { transient: false, certain: true, data: true }],
    ['a check', wrapped(error('', { code: '23514' })), { transient: false, certain: true, data: true }],
    ['a duplicate', error('', { code: '23505', constraint: 'x' }), { transient: false, certain: true, data: false }],
    ['a bug of ours', new TypeError('undefined is not a function'), { transient: false, certain: false, data: false }],
    ['nothing', undefined, { transient: false, certain: false, data: false }],
  ];
  for (const [name, value, expected] of table)
    it(`judge ${name}`, () => {
      const judged = {
        transient: isTransientDatabaseError(value),
        certain: isCertainRollback(value),
        data: isDataError(value),
      };
      expect(judged).to.deep.equal(expected);
    });

  it('name the constraint of a duplicate, also inside a wrapper or a cause', () => {
    const duplicate = error('', { code: '23505', constraint: 'policies_name_per_parent' });
    for (const value of [duplicate, wrapped(duplicate), new Error('outer', { cause: duplicate })])
      expect(uniqueViolation(value)).to.equal('policies_name_per_parent');
    expect(uniqueViolation(error('', { code: '23503', constraint: 'x' }))).to.equal(undefined);
  });

  it('take no error of Node for a SQLSTATE that means something', () => {
    expect(isTransientDatabaseError(error('', { code: 'ERR_ASSERTION' }))).to.equal(false);
    expect(sqlStateOf(error('', { code: 'ERR_ASSERTION' }))).to.equal(undefined);
  });
});
