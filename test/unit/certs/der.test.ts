import { expect } from 'chai';
import fc from 'fast-check';
import { DerError, readElement, readElements, readOid, TAG, writeElement } from '../../../certs/der.js';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');

describe('the DER reader', () => {
  it('reads what the writer wrote, of any length', () => {
    const lengths = fc.constantFrom(0, 1, 127, 128, 255, 256, 65_535, 65_536);
    fc.assert(
      fc.property(fc.array(lengths, { maxLength: 4 }), (sizes) => {
        const contents = sizes.map((size) => Buffer.alloc(size, 7));
        const elements = readElements(Buffer.concat(contents.map((bytes) => writeElement(TAG.octetString, bytes))));
        expect(elements.map(({ content }) => content.length)).to.deep.equal(sizes);
      }),
    );
  });

  const malformed: [string, string][] = [
    ['nothing at all', ''],
    ['a tag alone', '30'],
    ['an indefinite length', '30800000'],
    ['a length of one octet in long form', '30810100'],
    ['a length with a leading zero', `3082008${'0'.repeat(257)}`],
    ['a length of five octets', '30850000000001ff'],
    ['a length that is cut off', '3082'],
    ['content that is cut off', '300201'],
    ['a tag of several octets', '3f8101'],
    ['bytes behind the element', '300000'],
    ['another tag', '3100'],
  ];
  for (const [name, bytes] of malformed)
    it(`refuses ${name}`, () => {
      expect(() => readElement(hex(bytes), TAG.sequence)).to.throw(DerError);
    });

  it('reads OIDs and refuses padded, cut and empty ones', () => {
    const oid = (content: string): string => readOid(readElement(writeElement(TAG.oid, hex(content)), TAG.oid));
    expect([oid('551d11'), oid('2a8648ce3d030107'), oid('883703')]).to.deep.equal([
      '2.5.29.17',
      '1.2.840.10045.3.1.7',
      '2.999.3',
    ]);
    for (const content of ['', '55801d', '8055', '5581', 'ff'.repeat(40)])
      expect(() => oid(content)).to.throw(DerError);
  });
});
