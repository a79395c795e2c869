import type { KeyObject, X509Certificate } from 'node:crypto';
import { connect, type TLSSocket } from 'node:tls';
import { basicConstraints, extendedKeyUsage, keyUsage, subjectAltName } from '../../certs/certificate-encoder.js';
import { DAY_MS, KEY_USAGE, OID, type CertificateRole } from '../../certs/certificate-profile.js';
import {
  AUTHORITY_BITS,
  forgeAuthority,
  forgeCertificate,
  leafExtensions,
  validAround,
  type Forged,
  type Forgery,
} from './forged-certificates.js';

/** A client certificate with its key. */
export interface PresentedIdentity {
  readonly cert: string;
  readonly key: string;
}

/** What is wrong with a certificate; every door says in its own words what it does about it. */
export type CertificateFault = 'none' | 'absent' | 'unknown-authority' | 'profile' | 'expired' | 'not-yet-valid';

export interface AttackCertificate {
  readonly name: string;
  readonly fault: CertificateFault;
  readonly identity: PresentedIdentity | undefined;
}

export interface AttackedAuthority {
  /** The issuing intermediate of the door's own authority, with its key: forgeries that no stranger could make. */
  readonly intermediate: { readonly key: KeyObject; readonly x509: X509Certificate };
  readonly trustDomain: string;
  /** The role that the door wants to see. */
  readonly role: CertificateRole;
  /** A computer or a node that the door would serve. */
  readonly id: string;
  readonly at: number;
}

const OTHER_NODE = 'node-9';
const OTHER_COMPUTER = '0b5f7c1e-6c1c-4f0e-9d9a-0123456789ab';

/** One certificate of each kind that a door must tell apart, for a door of either role. */
export function attackCertificates({
  intermediate,
  trustDomain,
  role,
  id,
  at,
}: AttackedAuthority): AttackCertificate[] {
  const second = Math.floor(at / 1000) * 1000;
  const uri = `spiffe://${trustDomain}/${role}/${id}`;
  const usual = leafExtensions(uri);
  const issuer = { key: intermediate.key, der: intermediate.x509.raw };
  const own = (change: Partial<typeof usual> = {}, more: Partial<Forgery> = {}): Forged =>
    forgeCertificate({
      name: id,
      issuer,
      ...validAround(at),
      extensions: Object.values({ ...usual, ...change }),
      ...more,
    });
  const without = (left: keyof typeof usual): Forged =>
    own({}, { extensions: Object.entries(usual).flatMap(([name, extension]) => (name === left ? [] : [extension])) });
  const named = (...uris: readonly string[]): Forged => own({ names: subjectAltName({ uris }) });
  const past = { notBefore: second - 9 * DAY_MS, notAfter: second - DAY_MS };
  const future = { notBefore: second + DAY_MS, notAfter: second + 9 * DAY_MS };
  const stranger = forgeAuthority(at, 'Stranger');
  const strange = (period = validAround(at)): PresentedIdentity =>
    present(
      own({}, { issuer: stranger.intermediate, ...period }),
      stranger.intermediate.pem,
      stranger.root.pem,
      intermediate.x509.toString(),
    );
  const leaf = own();
  const alone = forgeCertificate({ name: id, ...validAround(at), extensions: Object.values(usual) });
  const [otherRole, otherId] = role === 'computer' ? ['manager', OTHER_NODE] : ['computer', OTHER_COMPUTER];
  const ours = (forged: Forged): PresentedIdentity => present(forged, intermediate.x509.toString());
  const row = (name: string, fault: CertificateFault, identity: PresentedIdentity | undefined): AttackCertificate => ({
    name,
    fault,
    identity,
  });
  return [
    row('a good one', 'none', ours(leaf)),
    row('none', 'absent', undefined),
    row('of another authority', 'unknown-authority', strange()),
    row('of another authority and expired', 'unknown-authority', strange(past)),
    row('of another authority and of the future', 'unknown-authority', strange(future)),
    row('signed by itself', 'unknown-authority', present(alone)),
    row('signed by a computer or manager', 'unknown-authority', present(own({}, { issuer: leaf }), leaf.pem)),
    row('expired', 'expired', ours(own({}, past))),
    row('of the future', 'not-yet-valid', ours(own({}, future))),
    row('of the other role', 'profile', ours(named(`spiffe://${trustDomain}/${otherRole}/${otherId}`))),
    row('of no role', 'profile', ours(named(`spiffe://${trustDomain}/${id}`))),
    row('of two ids', 'profile', ours(named(uri, `spiffe://${trustDomain}/${otherRole}/${otherId}`))),
    row('of another trust domain', 'profile', ours(named(`spiffe://evil.example/${role}/${id}`))),
    row('without SAN', 'profile', ours(without('names'))),
    row(
      'with host names only',
      'profile',
      ours(own({ names: subjectAltName({ uris: [], dnsNames: [id, 'localhost'] }) })),
    ),
    row('without extended key usage', 'profile', ours(without('purposes'))),
    row('for clients only', 'profile', ours(own({ purposes: extendedKeyUsage([OID.clientAuth]) }))),
    row('for servers only', 'profile', ours(own({ purposes: extendedKeyUsage([OID.serverAuth]) }))),
    row('without key usage', 'profile', ours(without('usage'))),
    row('marked as an authority', 'profile', ours(own({ constraints: basicConstraints({}) }))),
    row(
      'that may sign certificates',
      'profile',
      ours(own({ usage: keyUsage(KEY_USAGE.digitalSignature | AUTHORITY_BITS) })),
    ),
    row('expired and without SAN', 'profile', ours(own({}, { ...past, extensions: [usual.purposes, usual.usage] }))),
  ];
}

function present({ pem, keyPem }: Forged, ...chain: readonly string[]): PresentedIdentity {
  return { cert: [pem, ...chain].join('\n'), key: keyPem };
}

export const TLS_VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
export type TlsVersion = (typeof TLS_VERSIONS)[number];

export interface Knock {
  readonly port: number;
  readonly version: TlsVersion;
  readonly identity: PresentedIdentity | undefined;
  /** A request, head and body, that asks for the connection's end. */
  readonly bytes: string;
  readonly session?: Buffer | undefined;
}

export interface Knocked {
  /** `200`, `403 certificate-refused`, or `closed` without an answer. */
  readonly outcome: string;
  readonly isResumed: boolean;
  /** Resumes this very session. */
  readonly session: Buffer | undefined;
}

/** One request on a TLS connection of its own, fresh or resumed, by a client that believes any server. */
export function knock({ bytes, ...target }: Knock): Promise<Knocked> {
  return new Promise((resolve) => {
    let [received, isResumed, ticket]: [string, boolean, Buffer | undefined] = ['', false, undefined];
    const socket = openTo(target);
    const end = (): void => {
      socket.destroy();
      resolve({ outcome: outcomeOf(received), isResumed, session: ticket });
    };
    socket.setEncoding('latin1').on('data', (chunk) => (received += String(chunk)));
    socket.on('session', (fresh: Buffer) => (ticket = fresh));
    socket.on('secureConnect', () => {
      isResumed = socket.isSessionReused();
      socket.write(bytes);
    });
    socket.on('end', end).on('close', end).on('error', end);
  });
}

/** A connection that stays open between its requests. */
export interface KeptConnection {
  /** The outcome of one more request; `bytes` as `requestBytes` makes them. */
  ask(bytes: string): Promise<string>;
  end(): void;
}

export function keepConnection(target: Omit<Knock, 'bytes'>): KeptConnection {
  const socket = openTo(target);
  let [received, isOpen] = ['', true];
  let answered: (() => void) | undefined;
  const close = (): void => {
    isOpen = false;
    answered?.();
  };
  socket.setEncoding('latin1').on('data', (chunk) => {
    received += String(chunk);
    if (isWhole(received)) answered?.();
  });
  socket.on('end', close).on('close', close).on('error', close);
  return {
    async ask(bytes) {
      received = '';
      const answer = new Promise<void>((resolve) => (answered = resolve));
      if (isOpen) socket.write(bytes.replace('Connection: close\r\n', ''));
      else answered?.();
      await answer;
      return outcomeOf(received);
    },
    end: () => void socket.destroy(),
  };
}

function isWhole(received: string): boolean {
  const [head = '', body] = received.split('\r\n\r\n');
  const [, length] = /^content-length: (\d+)$/im.exec(head) ?? [];
  return body !== undefined && length !== undefined && body.length >= Number(length);
}

function openTo({ port, version, identity, session }: Omit<Knock, 'bytes'>): TLSSocket {
  return connect({
    host: '127.0.0.1',
    port,
    servername: 'localhost',
    rejectUnauthorized: false,
    minVersion: version,
    maxVersion: version,
    ...identity,
    ...(session ? { session } : {}),
  });
}

function outcomeOf(received: string): string {
  const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(received) ?? [];
  const [, code] = /"type":"\/problems\/([a-z-]+)"/.exec(received) ?? [];
  if (status === undefined) return 'closed';
  return code === undefined ? status : `${status} ${code}`;
}

export function requestBytes(method: string, path: string, body?: object): string {
  const text = body === undefined ? '' : JSON.stringify(body);
  const head = [`${method} ${path} HTTP/1.1`, 'Host: localhost', 'Connection: close'];
  const framing =
    body === undefined ? [] : ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(text)}`];
  return `${[...head, ...framing].join('\r\n')}\r\n\r\n${text}`;
}
