import { expect } from 'chai';
import { schemasOfDtos } from '../../../server/admin-api/dto-schemas.js';
import { PlainPageQuery } from '../../../server/admin-api/page.js';
import { ComputersQuery } from '../../../server/computers/computer-dto.js';
import { BulkFilterBody } from '../../../server/operations/operation-dto.js';

describe('the filter of a bulk operation', () => {
  it('takes every filter of the list of computers, and the computers themselves', () => {
    const schemas = schemasOfDtos() as Readonly<Record<string, { readonly properties?: object }>>;
    const membersOf = ({ name }: { readonly name: string }) => Object.keys(schemas[name]?.properties ?? {});
    const ofPage = membersOf(PlainPageQuery);
    const filters = membersOf(ComputersQuery).filter((member) => !ofPage.includes(member));
    expect(filters).to.include.members(['flag', 'package', 'q']);
    expect(membersOf(BulkFilterBody)).to.have.members([...filters, 'computerIds']);
  });
});
