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

type AdminConfig = Pick<Config, 'adminTls' | 'adminHost'>;

/** What the admin port shows. */
export interface ServedAdminTls {
  /** Null: plain HTTP on loopback. */
  current(): NamedAdminTls | null;
  /**
   * Takes what the operator put in the place of the files, or another leaf of the manager's; `serve` is called with what is
   * new. What it throws, and files that cannot be read, leave everything as it is.
   */
  take(identity: ManagerIdentity, serve: (tls: AdminTls) => void): void;
  /** Of those shown, the operator's own: nobody but the operator can renew it. */
  certificates(): readonly OwnCertificate[];
}

/** Off loopback only HTTPS: with the given certificate, or with the manager's own. */
export function createAdminTls(config: AdminConfig, identity: ManagerIdentity): ServedAdminTls {
  let current = readAdminTls(config, identity);
  return {
    current: () => current,
    take(manager, serve) {
      const next = readAdminTls(config, manager);
      if (!next || (current && isSame(next, current))) return;
      serve(next);
      current = next;
    },
    certificates() {
      if (!config.adminTls || !current) return [];
      return [{ name: 'admin', notAfter: Date.parse(new X509Certificate(current.cert).validTo) }];
    },
  };
}

function readAdminTls(config: AdminConfig, identity: ManagerIdentity): NamedAdminTls | null {
  const tls = chooseTls(config, identity);
  return tls && { ...tls, fingerprint: fingerprintOf(tls.cert) };
}

function isSame(one: AdminTls, other: AdminTls): boolean {
  return String(one.cert) === String(other.cert) && String(one.key) === String(other.key);
}

function chooseTls({ adminTls, adminHost }: AdminConfig, identity: ManagerIdentity): AdminTls | null {
  if (adminTls) return { cert: readFileSync(adminTls.certPath), key: readFileSync(adminTls.keyPath) };
  if (isLoopbackHost(adminHost)) return null;
  return { cert: identity.certPem + identity.chainPem, key: identity.keyPem };
}

function fingerprintOf(pem: string | Buffer): string {
  return new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();
}
