import { OID } from './certificate-profile.js';
import { DerError, TAG, expectTag, readElement, readElements, readOid, readSequence, type DerElement } from './der.js';

/** What a certificate says, read from its DER; instants in milliseconds. */
export interface CertificateFacts {
  /** Lower-case hex, without the sign octet. */
  readonly serial: string;
  readonly issuerDer: Buffer;
  readonly subjectDer: Buffer;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly spkiDer: Buffer;
  readonly isAuthority: boolean;
  /** Most intermediates that may stand below; undefined when unlimited. */
  readonly pathLength: number | undefined;
  /** First octet of KeyUsage, undefined when the extension is absent. */
  readonly keyUsage: number | undefined;
  readonly keyPurposes: readonly string[];
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** As 4 or 16 octets in hex. */
  readonly ipAddresses: readonly string[];
  /** Dotted OIDs of critical extensions that this reader does not know. */
  readonly unknownCritical: readonly string[];
}

type ExtensionFacts = Pick<
  CertificateFacts,
  'isAuthority' | 'pathLength' | 'keyUsage' | 'keyPurposes' | 'uris' | 'dnsNames' | 'ipAddresses' | 'unknownCritical'
>;

const VERSION_TAG = 0xa0;
const ISSUER_UID_TAG = 0x81;
const SUBJECT_UID_TAG = 0x82;
const EXTENSIONS_TAG = 0xa3;
const VERSION_3 = '020102';
const NAME = { dns: 0x82, uri: 0x86, ip: 0x87 } as const;
const MOST_EXTENSIONS = 64;

/** Reads an X.509 version 3 certificate (RFC 5280 section 4.1). Throws a DerError; verifies nothing. */
export function readCertificate(der: Buffer): CertificateFacts {
  const [body] = readSequence(readElement(der, TAG.sequence));
  const [version, serial, algorithm, issuer, validity, subject, spki, ...rest] = readSequence(body);
  if (expectTag(version, VERSION_TAG).content.toString('hex') !== VERSION_3) throw new DerError('not of version 3');
  expectTag(algorithm, TAG.sequence);
  const [notBefore, notAfter] = readSequence(validity);
  return {
    serial: readSerial(serial),
    issuerDer: expectTag(issuer, TAG.sequence).whole,
    subjectDer: expectTag(subject, TAG.sequence).whole,
    notBefore: readTime(notBefore),
    notAfter: readTime(notAfter),
    spkiDer: expectTag(spki, TAG.sequence).whole,
    ...readExtensions(extensionsOf(rest)),
  };
}

function extensionsOf(rest: readonly DerElement[]): DerElement[] {
  const last = rest.at(-1);
  const uids = rest.slice(0, -1).every(({ tag }) => tag === ISSUER_UID_TAG || tag === SUBJECT_UID_TAG);
  if (!last) return [];
  if (!uids || rest.length > 3) throw new DerError('the certificate has odd members');
  return readSequence(readElement(expectTag(last, EXTENSIONS_TAG).content, TAG.sequence));
}

function readSerial(element: DerElement | undefined): string {
  const { content } = expectTag(element, TAG.integer);
  const first = content[0];
  if (first === undefined || first > 0x7f || content.length > 21) throw new DerError('the serial is not positive');
  return content.subarray(first === 0 && content.length > 1 ? 1 : 0).toString('hex');
}

const GENERALIZED_TIME = /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/;
/** RFC 5280 section 4.1.2.5.1: two digits of the year from 50 on are of the last century. */
const FIRST_YEAR_OF_LAST_CENTURY = '50';

function readTime(element: DerElement | undefined): number {
  const iso = generalizedTime(element).replace(GENERALIZED_TIME, '$1-$2-$3T$4:$5:$6.000Z');
  const ms = Date.parse(iso);
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== iso) throw new DerError('the time is malformed');
  return ms;
}

function generalizedTime(element: DerElement | undefined): string {
  const text = element?.content.toString('latin1') ?? '';
  if (element?.tag === TAG.generalizedTime) return text;
  if (element?.tag !== TAG.utcTime) throw new DerError('a time was expected');
  return (text < FIRST_YEAR_OF_LAST_CENTURY ? '20' : '19') + text;
}

interface Extension {
  readonly critical: boolean;
  readonly value: Buffer;
}

function readExtensions(elements: readonly DerElement[]): ExtensionFacts {
  const extensions = new Map<string, Extension>();
  if (elements.length > MOST_EXTENSIONS) throw new DerError('the certificate has too many extensions');
  for (const element of elements) {
    const [id, ...rest] = readSequence(element);
    const oid = readOid(id);
    if (extensions.has(oid)) throw new DerError('an extension stands twice');
    extensions.set(oid, readExtension(rest));
  }
  const value = (oid: string): Buffer | undefined => extensions.get(oid)?.value;
  return {
    ...readBasicConstraints(value(OID.basicConstraints)),
    keyUsage: readKeyUsage(value(OID.keyUsage)),
    keyPurposes: readKeyPurposes(value(OID.extendedKeyUsage)),
    ...readNames(value(OID.subjectAltName)),
    unknownCritical: [...extensions].filter(([oid, { critical }]) => critical && !KNOWN.has(oid)).map(([oid]) => oid),
  };
}

const KNOWN: ReadonlySet<string> = new Set([
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.subjectAltName,
  OID.subjectKeyIdentifier,
  OID.authorityKeyIdentifier,
]);

function readExtension(rest: readonly DerElement[]): Extension {
  const [flag, ...others] = rest.length > 1 ? rest : [undefined, ...rest];
  if (others.length !== 1) throw new DerError('an extension is malformed');
  if (flag && expectTag(flag, TAG.boolean).content.toString('hex') !== 'ff') throw new DerError('a flag is malformed');
  return { critical: flag !== undefined, value: expectTag(others[0], TAG.octetString).content };
}

function readBasicConstraints(value: Buffer | undefined): Pick<ExtensionFacts, 'isAuthority' | 'pathLength'> {
  if (!value) return { isAuthority: false, pathLength: undefined };
  const [flag, length, ...others] = readSequence(readElement(value, TAG.sequence));
  if (!flag) return { isAuthority: false, pathLength: undefined };
  if (others.length > 0 || expectTag(flag, TAG.boolean).content.toString('hex') !== 'ff')
    throw new DerError('the basic constraints are malformed');
  return { isAuthority: true, pathLength: length && readSmallInteger(length) };
}

function readSmallInteger(element: DerElement): number {
  const { content } = expectTag(element, TAG.integer);
  if (content.length !== 1 || content.readUInt8(0) > 0x7f) throw new DerError('the path length is malformed');
  return content.readUInt8(0);
}

function readKeyUsage(value: Buffer | undefined): number | undefined {
  if (!value) return undefined;
  const { content } = readElement(value, TAG.bitString);
  if (content.length < 2 || content.length > 3) throw new DerError('the key usage is malformed');
  return content.readUInt8(1);
}

function readKeyPurposes(value: Buffer | undefined): readonly string[] {
  return value ? readSequence(readElement(value, TAG.sequence)).map(readOid) : [];
}

function readNames(value: Buffer | undefined): Pick<ExtensionFacts, 'uris' | 'dnsNames' | 'ipAddresses'> {
  const names = value ? readElements(readElement(value, TAG.sequence).content) : [];
  const contents = (tag: number, encoding: 'latin1' | 'hex'): string[] =>
    names.filter((name) => name.tag === tag).map(({ content }) => content.toString(encoding));
  return {
    uris: contents(NAME.uri, 'latin1'),
    dnsNames: contents(NAME.dns, 'latin1'),
    ipAddresses: contents(NAME.ip, 'hex'),
  };
}
