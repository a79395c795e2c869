import { createPrivateKey, generateKeyPair, X509Certificate, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';

import { createSigningRequest } from '../certs/csr.js';
import { certificatesOf, joinPemBundle } from '../certs/pem.js';
import { verifyPeerPath } from '../certs/verify-path.js';
import { writeDurably } from '../lib/durable-file.js';
import { readOwnFile } from './own-files.js';
import { keepOwner, type DataDirectory, type Identity } from './data-directory.js';
import { readRenewal, removeRenewal, writeRenewal, type Credentials } from './renewal-file.js';

const generate = promisify(generateKeyPair);

/** What was issued is not for this computer, key and root. */
export class UnusableCertificate extends Error {}

/**
 * The agent's key and certificate, and those that are to take their place. A new key is durable before it is asked for, a
 * new certificate before it is used, and the one before is kept until an exchange was had with the new one.
 */
export class CredentialStore {
  readonly #directory: DataDirectory;
  readonly #identity: Identity;
  #current: Credentials;
  /** Until the current ones are proven. */
  #former: Credentials | undefined;
  #isProven: boolean;
  /** The former ones are shown. */
  #isSwapped = false;
  /** A key that has no certificate yet. */
  #pending: KeyObject | undefined;
  /** The request for it stays the same. */
  #csr: string | undefined;

  /** `identity` is what `readIdentity` answered of the directory. */
  constructor(directory: DataDirectory, identity: Identity) {
    this.#directory = directory;
    this.#identity = identity;
    const { keyPem, certificatePem } = identity;
    this.#current = { keyPem, certificatePem };
    const stored = readRenewal(directory.renewalFile);
    this.#isProven = stored?.certificatePem === undefined || stored.certificatePem !== certificatePem;
    if (!this.#isProven) this.#former = this.#readFormer();
    else if (stored && stored.certificatePem === undefined) this.#pending = createPrivateKey(stored.keyPem);
  }

  /** The identity, with the key and the certificate of each moment. */
  get identity(): Identity {
    const current = (): Credentials => this.#current;
    return {
      ...this.#identity,
      get keyPem() {
        return current().keyPem;
      },
      get certificatePem() {
        return current().certificatePem;
      },
    };
  }

  get current(): Credentials {
    return this.#current;
  }

  /** No exchange was had with the current ones yet. */
  get isUnproven(): boolean {
    return !this.#isProven;
  }

  /** A request for another key, the same until a certificate was issued for it. Throws what the disk does. */
  async request(): Promise<string> {
    if (this.#csr !== undefined) return this.#csr;
    if (!this.#pending) {
      keepOwner(this.#directory, this.#identity);
      const { privateKey } = await generate('ec', { namedCurve: 'P-256' });
      writeRenewal(this.#directory.renewalFile, { keyPem: exportKey(privateKey), certificatePem: undefined });
      this.#pending = privateKey;
    }
    this.#csr = createSigningRequest(this.#pending);
    return this.#csr;
  }

  /** A request for the key that is in use: for a certificate that has expired. */
  requestAgain(): string {
    return createSigningRequest(createPrivateKey(this.#current.keyPem));
  }

  /** The key is refused: the next request is for another. */
  forgetKey(): void {
    if (!this.#isProven) return;
    removeRenewal(this.#directory.renewalFile);
    this.#pending = undefined;
    this.#csr = undefined;
  }

  /**
   * Uses what was issued from now on; answers whether it is another than before. Throws `UnusableCertificate`, and what the
   * disk does: then nothing has changed.
   */
  adopt(pems: readonly string[]): boolean {
    const [leafDer, ...others] = pems.flatMap(certificatesOf);
    if (!leafDer) throw new UnusableCertificate('The answer holds no certificate');
    const leaf = new X509Certificate(leafDer);
    if (leaf.toString() === firstOf(this.#current.certificatePem)) return false;
    const key = this.#keyOf(leaf);
    this.#assertOurs(leaf, others);
    const intermediates = others
      .map((der) => new X509Certificate(der))
      .filter(({ issuer, subject }) => issuer !== subject);
    const certificatePem = joinPemBundle([leaf, ...intermediates].map(String));
    const next = { keyPem: exportKey(key), certificatePem };
    keepOwner(this.#directory, this.#identity);
    writeRenewal(this.#directory.renewalFile, next);
    this.#former = this.#isProven ? this.#current : this.#former;
    this.#current = next;
    this.#isProven = false;
    this.#isSwapped = false;
    this.#pending = undefined;
    this.#csr = undefined;
    return true;
  }

  /**
   * An exchange was had with these; answers whether they have taken the place of others now. Throws what the disk does: then
   * it is tried with the next one.
   */
  proven(used: Credentials): boolean {
    if (this.#isProven || used !== this.#current) return false;
    const { keyFile, certificateFile, renewalFile } = this.#directory;
    const isReplaced = !this.#isSwapped;
    // The ones before came through where the new ones did not: those are of no use.
    if (isReplaced) {
      writeDurably(keyFile, used.keyPem);
      writeDurably(certificateFile, used.certificatePem);
    }
    removeRenewal(renewalFile);
    this.#isProven = true;
    this.#isSwapped = false;
    this.#former = undefined;
    return isReplaced;
  }

  /** Those that were shown were refused: the others are shown next, where there are any. */
  swap(): boolean {
    if (this.#isProven || !this.#former) return false;
    [this.#current, this.#former] = [this.#former, this.#current];
    this.#isSwapped = !this.#isSwapped;
    return true;
  }

  #keyOf(leaf: X509Certificate): KeyObject {
    const known = [this.#pending, createPrivateKey(this.#current.keyPem)].find(
      (key) => key && leaf.checkPrivateKey(key),
    );
    if (!known) throw new UnusableCertificate('The certificate is for another key');
    return known;
  }

  #assertOurs(leaf: X509Certificate, others: readonly Buffer[]): void {
    const { rootPem, trustDomain, computerId } = this.#identity;
    const verdict = verifyPeerPath({
      leafDer: leaf.raw,
      intermediates: others,
      roots: certificatesOf(rootPem).map((der) => new X509Certificate(der)),
      trustDomain,
      role: 'computer',
      // Its dates are the manager's; a computer with a wrong clock is renewed too.
      at: Date.parse(leaf.validFrom),
    });
    if (!verdict.ok) throw new UnusableCertificate(verdict.detail);
    if (verdict.id !== computerId) throw new UnusableCertificate('The certificate is for another computer');
  }

  /** After a crash on the way they may not belong together any more: then there is nothing to go back to. */
  #readFormer(): Credentials | undefined {
    const { keyFile, certificateFile } = this.#directory;
    try {
      const [keyPem, certificatePem] = [readOwnFile(keyFile), readOwnFile(certificateFile)];
      const [leaf] = certificatesOf(certificatePem ?? '');
      if (keyPem === undefined || certificatePem === undefined || !leaf) return undefined;
      return new X509Certificate(leaf).checkPrivateKey(createPrivateKey(keyPem))
        ? { keyPem, certificatePem }
        : undefined;
    } catch {
      return undefined;
    }
  }
}

function exportKey(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function firstOf(bundle: string): string | undefined {
  const [leaf] = certificatesOf(bundle);
  return leaf && new X509Certificate(leaf).toString();
}
