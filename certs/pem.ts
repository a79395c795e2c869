import { createHash, type X509Certificate } from 'node:crypto';

const BLOCK = /-----BEGIN ([A-Z0-9 ]{1,64})-----\r?\n([A-Za-z0-9+/=\r\n]{1,200000})-----END \1-----/g;

/** One block of a PEM text (RFC 7468): its label and its octets. */
export interface PemBlock {
  readonly label: string;
  readonly der: Buffer;
}

/** Every block of a text, in order; what stands between blocks is ignored, as RFC 7468 section 5.2 allows. */
export function readPem(text: string): PemBlock[] {
  return [...text.matchAll(BLOCK)].map(([, label = '', body = '']) => ({ label, der: Buffer.from(body, 'base64') }));
}

export function writePem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** Takes a PEM bundle apart into certificates, each with a final line feed; other blocks are left out. */
export function splitPemBundle(bundle: string): string[] {
  return certificatesOf(bundle).map((der) => writePem('CERTIFICATE', der));
}

/** The DER of every certificate in a PEM bundle, in order. */
export function certificatesOf(bundle: string): Buffer[] {
  return readPem(bundle)
    .filter(({ label }) => label === 'CERTIFICATE')
    .map(({ der }) => der);
}

export function joinPemBundle(pems: readonly string[]): string {
  return pems.map((pem) => (pem.endsWith('\n') ? pem : `${pem}\n`)).join('');
}

/** Lower-case hex SHA-256 of a certificate's DER (or of any octets). */
export function sha256Fingerprint(derOrCertificate: Uint8Array | X509Certificate): string {
  const der = 'raw' in derOrCertificate ? derOrCertificate.raw : derOrCertificate;
  return createHash('sha256').update(der).digest('hex');
}
