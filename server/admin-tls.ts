import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { ManagerIdentity } from '../certs/manager-identity.js';
import type { AdminTls } from './admin-api/admin-server.js';
import { isLoopbackHost } from './admin-api/origin-rules.js';
import type { OwnCertificate } from './certificates/manager-certificate.js';
import type { Config } from './config.js';

export interface NamedAdminTls extends AdminTls {
  /** Lower-case hex SHA-256 of the leaf's DER: what a browser shows of a certificate it does not know. */
  readonly fingerprint: string;
}

/** Off loopback only HTTPS: with the given certificate, or with the manager's own. Null: plain HTTP on loopback. */
export function readAdminTls(config: Config, identity: ManagerIdentity): NamedAdminTls | null {
  const tls = chooseTls(config, identity);
  return tls && { ...tls, fingerprint: fingerprintOf(tls.cert) };
}

function chooseTls({ adminTls, adminHost }: Config, identity: ManagerIdentity): AdminTls | null {
  if (adminTls) return { cert: readFileSync(adminTls.certPath), key: readFileSync(adminTls.keyPath) };
  if (isLoopbackHost(adminHost)) return null;
  return { cert: identity.certPem + identity.chainPem, key: identity.keyPem };
}

function fingerprintOf(pem: string | Buffer): string {
  return new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();
}

/** The operator's own for the admin port, which nobody but the operator can renew. */
export function adminCertificates({ adminTls }: Config): OwnCertificate[] {
  if (!adminTls) return [];
  return [{ name: 'admin', notAfter: Date.parse(new X509Certificate(readFileSync(adminTls.certPath)).validTo) }];
}
