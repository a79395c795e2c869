/** One DER element: its tag byte, its content, and the exact bytes it was read from. */
export interface DerElement {
  readonly tag: number;
  readonly content: Buffer;
  readonly whole: Buffer;
}

/** The bytes are not the DER (X.690) that was expected. */
export class DerError extends Error {}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const;

const MULTI_BYTE_TAG = 0x1f;
const LONG_FORM = 0x80;
const MOST_LENGTH_BYTES = 4;

/** Reads the elements that fill `bytes` exactly. Definite, minimal lengths only; throws a DerError. */
export function readElements(bytes: Buffer): DerElement[] {
  const elements: DerElement[] = [];
  for (let offset = 0; offset < bytes.length;) {
    const element = elementAt(bytes, offset);
    elements.push(element);
    offset += element.whole.length;
  }
  return elements;
}

/** Reads the single element of the given tag that fills `bytes` exactly. */
export function readElement(bytes: Buffer, tag: number): DerElement {
  const element = elementAt(bytes, 0);
  if (element.whole.length !== bytes.length) throw new DerError('bytes follow the element');
  return expectTag(element, tag);
}

/** The element itself, when it is there and carries the tag. */
export function expectTag(element: DerElement | undefined, tag: number): DerElement {
  if (element?.tag !== tag) throw new DerError(`tag ${tag} was expected`);
  return element;
}

/** The members of a SEQUENCE. */
export function readSequence(element: DerElement | undefined): DerElement[] {
  return readElements(expectTag(element, TAG.sequence).content);
}

/** The octets of a BIT STRING without unused bits, as signatures and keys are. */
export function readWholeBits(element: DerElement | undefined): Buffer {
  const { content } = expectTag(element, TAG.bitString);
  if (content[0] !== 0) throw new DerError('the bit string has unused bits');
  return content.subarray(1);
}

/** An OBJECT IDENTIFIER in dotted form. */
export function readOid(element: DerElement | undefined): string {
  const { content } = expectTag(element, TAG.oid);
  const last = content.at(-1);
  if (last === undefined || last >= LONG_FORM || content.length > 32) throw new DerError('the OID is malformed');
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of content) {
    if (arc === 0 && byte === LONG_FORM) throw new DerError('the OID is padded');
    arc = arc * 128 + (byte & 0x7f);
    if (byte >= LONG_FORM) continue;
    arcs.push(arc);
    arc = 0;
  }
  const [first = 0, ...rest] = arcs;
  const root = Math.min(Math.floor(first / 40), 2);
  return [root, first - root * 40, ...rest].join('.');
}

/** Writes one element around the given contents. */
export function writeElement(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  return Buffer.concat([Buffer.from([tag]), writeLength(content.length), content]);
}

function writeLength(length: number): Buffer {
  if (length < LONG_FORM) return Buffer.from([length]);
  const digits = length.toString(16);
  const bytes = Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex');
  return Buffer.concat([Buffer.from([LONG_FORM | bytes.length]), bytes]);
}

function elementAt(bytes: Buffer, offset: number): DerElement {
  const tag = bytes[offset];
  if (tag === undefined || (tag & MULTI_BYTE_TAG) === MULTI_BYTE_TAG) throw new DerError('the tag is malformed');
  const { length, header } = lengthAt(bytes, offset + 1);
  const start = offset + 1 + header;
  const end = start + length;
  if (end > bytes.length) throw new DerError('the element is cut off');
  return { tag, content: bytes.subarray(start, end), whole: bytes.subarray(offset, end) };
}

function lengthAt(bytes: Buffer, offset: number): { length: number; header: number } {
  const first = bytes[offset];
  if (first === undefined) throw new DerError('the length is cut off');
  if (first < LONG_FORM) return { length: first, header: 1 };
  const count = first & 0x7f;
  if (count === 0 || count > MOST_LENGTH_BYTES || offset + count >= bytes.length)
    throw new DerError('the length is malformed');
  const length = bytes.readUIntBE(offset + 1, count);
  if (length < LONG_FORM || length < 256 ** (count - 1)) throw new DerError('the length is not minimal');
  return { length, header: 1 + count };
}
