import { expect } from 'chai';
import { plainToInstance, type ClassConstructor } from 'class-transformer';
import { validateSync } from 'class-validator';
import { reachableFrom, refTo, schemasOfDtos } from '../../../server/admin-api/dto-schemas.js';
import {
  ChangeComputerBody,
  ComputerDto,
  ComputersQuery,
  CreateComputerBody,
} from '../../../server/computers/computer-dto.js';
import { CreateEnrollmentTokenBody } from '../../../server/enrollment/token-dto.js';
import { EventsQuery } from '../../../server/events/event-dto.js';
import { ChangePolicyBody, CreatePolicyBody, LockBody } from '../../../server/policies/policy-dto.js';

const ID = '0f8fad5b-d9cb-469f-a165-70867728950e';

function faultsOf<T extends object>(dto: ClassConstructor<T>, body: object): string[] {
  return validateSync(plainToInstance(dto, body)).map(({ property }) => property);
}

describe('the DTOs of policies, computers, events and tokens', () => {
  it('split lists of statuses', () => {
    const read = (query: object) => plainToInstance(ComputersQuery, query);
    expect(read({ status: 'online,late' }).status).to.deep.equal(['online', 'late']);
    expect(read({ status: ['online', 'late'] }).status).to.deep.equal(['online', 'late']);
    expect(read({ label: 'site:a,b' }).label).to.deep.equal(['site:a,b']);
    expect(read({ limit: '7' })).to.deep.include({ limit: 7 });
    expect(read({}).status).to.equal(undefined);
  });

  const good: readonly [string, ClassConstructor<object>, object][] = [
    ['no filter', ComputersQuery, {}],
    ['every filter', ComputersQuery, { status: 'online,late', policyId: ID, label: ['a', 'b=c'], q: 'x', limit: '5' }],
    ['a computer', CreateComputerBody, { name: 'web1', policyId: ID }],
    ['a computer without an address', CreateComputerBody, { name: 'web1', policyId: ID, address: null }],
    ['a change of nothing', ChangeComputerBody, {}],
    ['packages', ComputersQuery, { package: ['openssl', 'bash@5.2-1', 'odd@1@2'] }],
    ['labels taken away', ChangeComputerBody, { labels: { a: null, b: 'c' } }],
    ['all labels taken away', ChangeComputerBody, { labels: null }],
    ['a root', CreatePolicyBody, { name: 'Servers', parentId: null }],
    ['a move to the top', ChangePolicyBody, { parentId: null }],
    ['a token', CreateEnrollmentTokenBody, { policyId: ID, uses: 1, expiresInSeconds: 60, ratePerSecond: 0.5 }],
    ['a code', EventsQuery, { code: '5004' }],
  ];
  for (const [name, dto, body] of good) it(`take ${name}`, () => expect(faultsOf(dto, body)).to.deep.equal([]));

  const bad: readonly [string, ClassConstructor<object>, object, string][] = [
    ['an unknown status', ComputersQuery, { status: 'online,asleep' }, 'status'],
    ['a policy that is no id', ComputersQuery, { policyId: 'x' }, 'policyId'],
    ['a limit of 501', ComputersQuery, { limit: '501' }, 'limit'],
    ['a label that is an object', ComputersQuery, { label: { a: 'b' } }, 'label'],
    ['a label that is too long', ComputersQuery, { label: 'x'.repeat(321) }, 'label'],
    ['a label with U+0000', ComputersQuery, { label: ['a', 'b\0'] }, 'label'],
    ['a package without a name', ComputersQuery, { package: '@1' }, 'package'],
    ['a package with an empty version', ComputersQuery, { package: ['bash', 'bash@'] }, 'package'],
    ['a package that is too long', ComputersQuery, { package: 'x'.repeat(256) }, 'package'],
    ['a package with U+0000', ComputersQuery, { package: 'a\0' }, 'package'],
    ['seventeen packages', ComputersQuery, { package: Array.from({ length: 17 }, () => 'bash') }, 'package'],
    ['an unknown flag', ComputersQuery, { flag: 'isolated,gone' }, 'flag'],
    ['an unknown kind', CreateComputerBody, { name: 'a', policyId: ID, kind: 'vm' }, 'kind'],
    ['a wrong address', CreateComputerBody, { name: 'a', policyId: ID, address: 'a:0' }, 'address'],
    ['null for a label at creation', CreateComputerBody, { name: 'a', policyId: ID, labels: { a: null } }, 'labels'],
    ['null for a name', ChangeComputerBody, { name: null }, 'name'],
    ['null for a policy', ChangeComputerBody, { policyId: null }, 'policyId'],
    ['an empty name', CreatePolicyBody, { name: '', parentId: null }, 'name'],
    ['settings that are a list', CreatePolicyBody, { name: 'a', parentId: null, settings: [] }, 'settings'],
    ['an unknown lock', LockBody, { mode: 'loose' }, 'mode'],
    ['no uses', CreateEnrollmentTokenBody, { policyId: ID, expiresInSeconds: 60 }, 'uses'],
    [
      'a rate of 0',
      CreateEnrollmentTokenBody,
      { policyId: ID, uses: 1, expiresInSeconds: 1, ratePerSecond: 0 },
      'ratePerSecond',
    ],
    ['a code that is no number', EventsQuery, { code: 'x' }, 'code'],
  ];
  for (const [name, dto, body, property] of bad)
    it(`refuse ${name}`, () => expect(faultsOf(dto, body)).to.deep.equal([property]));

  it('describe themselves as JSON schemas', () => {
    const schemas = schemasOfDtos() as Record<string, { properties?: object }>;
    for (const name of ['EventDto', 'PolicyTreeDto', 'EnrollmentTokenDto'])
      expect(schemas[name]?.properties, name).to.be.an('object');
    expect(Object.keys(schemas['ComputerDto']!.properties!)).to.include.members(['channel', 'offlineAt', 'flags']);
    expect(Object.keys(schemas['ComputerDetailDto']!.properties!)).to.include.members(['status', 'tls', 'facts']);
    expect([...reachableFrom(refTo(ComputerDto), schemas)]).to.have.members([
      'ComputerDto',
      'PolicyRefDto',
      'PresentMaintenanceDto',
      'MaintenanceSourceDto',
    ]);
  });
});
