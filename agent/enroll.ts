import { generateKeyPair, X509Certificate, type KeyObject } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import type { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';

import { parseSpiffeId } from '../certs/certificate-profile.js';
import { readCertificate } from '../certs/certificate-reader.js';
import { createSigningRequest } from '../certs/csr.js';
import { certificatesOf, joinPemBundle, sha256Fingerprint } from '../certs/pem.js';
import { peerCertificates, verifyPeerPath } from '../certs/verify-path.js';
import type { Clock } from '../lib/clock.js';
import { writeDurably } from '../lib/durable-file.js';
import { readBy } from '../lib/schema.js';
import { enrollResponseSchema, type EnrollRequest, type EnrollResponse } from '../protocol/enrollment-messages.js';
import { hashEnrollmentSecret, parseEnrollmentToken, type EnrollmentToken } from '../protocol/enrollment-token.js';
import { AGENT_PATHS, PROTOCOL_VERSION } from '../protocol/protocol-version.js';
import { ATTEMPT_LIMIT_MS } from './beat-rules.js';
import {
  prepareDirectory,
  readIdentity,
  writeIdentity,
  type DataDirectory,
  type IdentityFile,
} from './data-directory.js';
import { withDeadline } from './deadline.js';
import { readKey } from './identity-check.js';
import { noSecret, openRoute, RouteChooser, type RouteMeans } from './transport/route.js';
import { routeOf, type LocalProxies } from './transport/route-rules.js';
import { SecondWay, type OpenWay } from './transport/second-way.js';
import { createConnection, createContext, type ManagerAddress, type WayTaken } from './transport/tls-connection.js';
import { toTransportError, TransportError } from './transport/transport-error.js';

export interface EnrollmentOptions {
  readonly directory: DataDirectory;
  readonly manager: ManagerAddress;
  /** `wbt_…` as the operator gave it. */
  readonly token: string;
  readonly name: string;
  readonly agentVersion: string;
  readonly platform: string;
  readonly machineId?: string | undefined;
  readonly clock: Clock;
  /** Proxies on the way; directly without them. */
  readonly local?: LocalProxies | undefined;
  readonly secretOf?: RouteMeans['secretOf'];
  /** The manager was reached that way and has enrolled the key; the identity is about to be written. */
  readonly onEnrolled?: (way: WayTaken) => void;
}

/** The token is not one. */
export class EnrollmentInputInvalid extends Error {}

const generate = promisify(generateKeyPair);

/**
 * Enrolls the directory, or answers what an enrolled one has. The key is durable before anything is sent, and the
 * manager is verified against the token's fingerprint before anything is sent; asking again with the same key after a
 * lost reply gives the same answer. Throws `TransportError`, `ManagerRefusal` or `EnrollmentInputInvalid`.
 */
export async function enroll(options: EnrollmentOptions): Promise<IdentityFile> {
  const { directory, clock } = options;
  prepareDirectory(directory);
  const known = readIdentity(directory);
  if (known) return known;
  const token = parseToken(options.token);
  const key = await openKey(directory);
  const request: EnrollRequest = {
    protocolVersion: PROTOCOL_VERSION,
    token: options.token.trim(),
    csr: createSigningRequest(key),
    name: options.name,
    agentVersion: options.agentVersion,
    platform: options.platform,
    ...(options.machineId === undefined ? {} : { machineId: options.machineId }),
  };
  const { answer, way } = await withDeadline({ clock, milliseconds: ATTEMPT_LIMIT_MS }, (signal) =>
    ask(request, { options, fingerprint: token.caFingerprint, signal }),
  ).catch((error: unknown) => {
    throw error instanceof Error && 'status' in error ? error : toTransportError(error);
  });
  return keep(answer, { options, key, token, way });
}

/** Throws `EnrollmentInputInvalid`. */
export function parseToken(text: string): EnrollmentToken {
  const token = parseEnrollmentToken(text);
  if (!token) throw new EnrollmentInputInvalid('The enrollment token must read wbt_<secret>_<fingerprint>');
  return token;
}

async function openKey({ keyFile }: DataDirectory): Promise<KeyObject> {
  if (existsSync(keyFile)) return readKey(readFileSync(keyFile, 'utf8'), keyFile);
  const { privateKey } = await generate('ec', { namedCurve: 'P-256' });
  writeDurably(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  return privateKey;
}

interface Asking {
  readonly options: EnrollmentOptions;
  readonly fingerprint: string;
  readonly signal: AbortSignal;
}

interface Asked {
  readonly answer: EnrollResponse;
  readonly way: WayTaken;
}

/** Where a proxy fails under the request, it goes another way: asked twice with one key, the manager answers the same. */
async function ask(request: EnrollRequest, { options, fingerprint, signal }: Asking): Promise<Asked> {
  const ways = new SecondWay(options.clock);
  const connection = await ways.connect({ open: openWays(options, fingerprint) }, ATTEMPT_LIMIT_MS, signal);
  try {
    const answer = readAnswer(await connection.post(AGENT_PATHS.enroll, JSON.stringify(request), signal));
    return { answer, way: { proxy: connection.proxy, warning: connection.warning } };
  } finally {
    connection.close();
  }
}

function openWays({ manager, clock, local, secretOf = noSecret }: EnrollmentOptions, fingerprint: string): OpenWay {
  const route = routeOf({ managerUrls: [manager.url], proxies: [], proxyFallbackDirect: true }, local);
  const chooser = new RouteChooser(route, { enrolledUrls: [] });
  const context = createContext({});
  const verify = (peer: TLSSocket): undefined => {
    verifyUnknownManager(peer, { fingerprint, at: clock.wall() });
  };
  return async (milliseconds, signal) => {
    const means = { clock, secretOf };
    const { socket, path, warning } = await openRoute({ chooser, means, milliseconds, context, verify, signal });
    return createConnection({
      socket,
      address: path.manager,
      proxy: path.proxy?.url,
      route: undefined,
      warning,
      hasAnotherWay: path.proxy !== undefined && chooser.size > 1,
      onFailure: (error) => chooser.failed(path, error),
    });
  };
}

function readAnswer(answer: unknown): EnrollResponse {
  try {
    return readBy(enrollResponseSchema, answer);
  } catch (error) {
    throw new TransportError('protocol', 'The manager answered no enrollment', error);
  }
}

/** The presented chain must hold the root that the token names, and lead from it to a manager's certificate. */
export function verifyUnknownManager(
  socket: TLSSocket,
  { fingerprint, at }: { readonly fingerprint: string; readonly at: number },
): void {
  const peer = peerCertificates(socket);
  const root = peer?.intermediates.find((der) => sha256Fingerprint(der) === fingerprint);
  if (!peer || !root)
    throw new TransportError('tls-unknown-ca', 'The manager did not present the root that the token names');
  const verdict = verifyPeerPath({
    ...peer,
    roots: [new X509Certificate(root)],
    trustDomain: trustDomainOf(peer.leafDer),
    role: 'manager',
    at,
  });
  if (verdict.ok) return;
  throw new TransportError(verdict.reason === 'profile' ? 'tls-unknown-ca' : verdict.reason, verdict.detail);
}

function trustDomainOf(leafDer: Buffer): string {
  try {
    const [uri = ''] = readCertificate(leafDer).uris;
    return parseSpiffeId(uri)?.trustDomain ?? '';
  } catch {
    return '';
  }
}

interface Keeping {
  readonly options: EnrollmentOptions;
  readonly key: KeyObject;
  readonly token: EnrollmentToken;
  readonly way: WayTaken;
}

/** Checks that the certificate is ours and under the token's root, then writes the identity. */
function keep(answer: EnrollResponse, { options, key, token, way }: Keeping): IdentityFile {
  const { caFingerprint: fingerprint, secret } = token;
  const [leafDer, ...others] = [answer.certificate, ...answer.chain].flatMap(certificatesOf);
  const rootDer = others.find((der) => sha256Fingerprint(der) === fingerprint);
  if (!leafDer || !rootDer)
    throw new TransportError('tls-unknown-ca', 'The answer lacks the root that the token names');
  const leaf = new X509Certificate(leafDer);
  const root = new X509Certificate(rootDer);
  const verdict = verifyPeerPath({
    leafDer,
    intermediates: others,
    roots: [root],
    trustDomain: answer.trustDomain,
    role: 'computer',
    // Its dates are the manager's; a computer with a wrong clock may enroll.
    at: Date.parse(leaf.validFrom),
  });
  if (!verdict.ok || verdict.id !== answer.computerId || !leaf.checkPrivateKey(key))
    throw new TransportError('protocol', 'The certificate in the answer is not for this key and computer');
  const identity = {
    computerId: answer.computerId,
    name: answer.name,
    policy: answer.policy,
    trustDomain: answer.trustDomain,
    ...(answer.settings ? { settings: answer.settings } : {}),
    managerUrls: answer.managerUrls.length > 0 ? answer.managerUrls : [options.manager.url],
    enrolledWith: { managerUrl: options.manager.url, tokenDigest: hashEnrollmentSecret(secret).toString('hex') },
  };
  const intermediates = others.filter((der) => !der.equals(rootDer)).map((der) => new X509Certificate(der).toString());
  options.onEnrolled?.(way);
  writeIdentity(options.directory, {
    ...identity,
    certificatePem: joinPemBundle([leaf.toString(), ...intermediates]),
    rootPem: joinPemBundle([root.toString()]),
  });
  return identity;
}
