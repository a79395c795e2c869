import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';

import { writeDurably } from '../../lib/durable-file.js';
import { array, boolean, isPlainObject, object, readBy, string } from '../../lib/schema.js';
import { CREDENTIAL_NAME, proxy } from '../../policies/setting-elements.js';
import type { DataDirectory } from '../data-directory.js';
import type { ProxySecret } from '../transport/proxy-tunnel.js';
import { routeKey, type LocalProxies } from '../transport/route-rules.js';
import { readOwnFile } from '../own-files.js';
import { TransportError } from '../transport/transport-error.js';
import { UnusableFile } from '../unusable-file.js';

/** A list of proxies as a command line gives it, and the secret that goes with it. */
export interface GivenProxies extends LocalProxies {
  readonly secret: { readonly name: string; readonly value: ProxySecret } | undefined;
}

const localSchema = object({ proxies: array(proxy, 100), direct: boolean });
const secretSchema = object({ username: string({ max: 255 }), password: string({ max: 1024 }) });

type Folder = Pick<DataDirectory, 'path'>;

const localFile = ({ path }: Folder): string => join(path, 'proxies.json');
const secretsFile = ({ path }: Folder): string => join(path, 'secrets.json');

/** The list set at this computer; undefined where the policy's counts. Throws `UnusableFile`. */
export function readLocalProxies(directory: Folder): LocalProxies | undefined {
  const path = localFile(directory);
  const text = readOwnFile(path);
  if (text === undefined) return undefined;
  try {
    return readBy(localSchema, JSON.parse(text));
  } catch {
    throw new UnusableFile(path, 'is no list of proxies', 'write it anew with "wardbeat-agent proxy set"');
  }
}

/** Undefined takes it away. */
export function writeLocalProxies(directory: Folder, local: LocalProxies | undefined): void {
  const path = localFile(directory);
  if (local) writeDurably(path, `${JSON.stringify(local, undefined, 2)}\n`);
  else rmSync(path, { force: true });
}

/** The secret that a proxy's `credential` names; read at every use, so that a new password counts at once. Throws `TransportError`. */
export function readSecret(directory: Folder, name: string): ProxySecret {
  const all = readSecrets(directory);
  const known = Object.hasOwn(all, name) ? all[name] : undefined;
  try {
    return readBy(secretSchema, known);
  } catch {
    throw new TransportError('proxy-credential', `${secretsFile(directory)} has no user and password named "${name}"`);
  }
}

function readSecrets(directory: Folder): Record<string, unknown> {
  const path = secretsFile(directory);
  try {
    const text = readOwnFile(path);
    if (text === undefined) return {};
    if ((statSync(path).mode & 0o077) === 0) return toSecrets(path, text);
  } catch (error) {
    const { message } = error as Error;
    throw new TransportError('proxy-credential', message);
  }
  throw new TransportError('proxy-credential', `${path} can be read by others: chmod 600 it`);
}

/** What stands there is told nowhere. */
function toSecrets(path: string, text: string): Record<string, unknown> {
  const all = parseOrUndefined(text);
  if (isPlainObject(all)) return all;
  throw new UnusableFile(path, 'is no JSON object', 'mend or remove it');
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Adds a secret, or replaces the one of that name; from then on nobody else can read the file. Throws `UnusableFile`. */
export function writeSecret(directory: Folder, name: string, secret: ProxySecret): void {
  const path = secretsFile(directory);
  const all = { ...toSecrets(path, readOwnFile(path) ?? '{}'), [name]: secret };
  writeDurably(path, `${JSON.stringify(all, undefined, 2)}\n`);
}

/** Whether the directory has just this list, and the secret that was given with it. Throws as reading them does. */
export function holdsProxies(directory: Folder, { proxies, direct, secret }: GivenProxies): boolean {
  const local = readLocalProxies(directory);
  const keyOf = (list: LocalProxies): string =>
    routeKey({ managerUrls: [], proxies: list.proxies, fallbackDirect: list.direct });
  if (!local || keyOf(local) !== keyOf({ proxies, direct })) return false;
  if (!secret) return true;
  const all = readSecrets(directory);
  return Object.hasOwn(all, secret.name) && isDeepStrictEqual(all[secret.name], secret.value);
}

/** `user:password`, on one line, as a secret file holds it; undefined for anything else. */
export function parseSecret(text: string): ProxySecret | undefined {
  const [, username, password] = /^([^:\r\n]{1,255}):([^\r\n]{0,1024})\r?\n?$/.exec(text) ?? [];
  const isClean = (part: string): boolean => !/\p{Cc}/u.test(part);
  if (username === undefined || password === undefined || !isClean(username + password)) return undefined;
  return { username, password };
}

export function isCredentialName(name: string): boolean {
  return name.length <= 128 && CREDENTIAL_NAME.test(name);
}
