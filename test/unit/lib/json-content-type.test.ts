import { expect } from 'chai';
import { isJsonContentType } from '../../../lib/json-content-type.js';

describe('content types of JSON', () => {
  const merge = ['application/json', 'application/merge-patch+json'];
  for (const type of ['application/json', 'Application/JSON ; Charset="UTF-8"', 'application/json;charset=utf8'])
    it(`take ${type}`, () => expect(isJsonContentType(type)).to.equal(true));
  for (const type of ['', 'text/json', 'application/jsonx', 'application/json; charset=utf-16', merge[1]!])
    it(`refuse ${type || 'nothing'}`, () => expect(isJsonContentType(type)).to.equal(false));
  it('take a merge patch where it is named', () => expect(isJsonContentType(merge[1]!, merge)).to.equal(true));
});
