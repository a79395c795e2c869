import { existsSync, rmSync } from 'node:fs';

import { FAMILIES, TABLE } from '../firewall/nft-text.js';
import { readIfThere, ServiceFailure, ServiceFault, servicePaths } from './install.js';
import { contentFault, placeFault } from './service-folder.js';
import type { ServiceHost } from './service-host.js';
import { FIREWALL_UNIT_NAME, readUnit, UNIT_NAME, type InstalledUnit } from './unit-file.js';

export interface UninstallOptions {
  readonly host: ServiceHost;
  readonly root: string | undefined;
  /** The data directory too: the computer enrolls anew after that. */
  readonly purge: boolean;
}

/** Removes the service; answers what was done, for a human. Nothing to remove is no fault. */
export function uninstallService(options: UninstallOptions): string[] {
  const { host, root, purge } = options;
  if (root === undefined && !host.isRoot) throw new ServiceFault(['a service is removed by root']);
  const tree = root ?? host.tree;
  const { unit, sysusers } = servicePaths(tree);
  const text = readIfThere(unit);
  if (text === undefined) return ['no service is installed'];
  const installed = readUnit(text);
  if (!installed) throw new ServiceFault([`${unit} was not written by wardbeat-agent install: remove it by hand`]);
  if (purge) assertPurgeable(installed.directory, tree);
  const said = removeUnits(options);
  if (!leavesUser(options, installed)) rmSync(sysusers, { force: true });
  return [...said, ...(purge ? removeData(options, installed) : [keptData(installed, tree)])];
}

/** A user that stays stays declared: so the next installation knows it for the service's own. */
function leavesUser({ root, purge }: UninstallOptions, { isUserOwn }: InstalledUnit): boolean {
  return root === undefined && !purge && isUserOwn;
}

function removeUnits({ host, root }: UninstallOptions): string[] {
  const { unit, wants, firewallUnit, firewallWants } = servicePaths(root ?? host.tree);
  const isManaged = root === undefined && host.isBooted;
  // An older installation has none.
  const hasFirewall = existsSync(firewallUnit);
  if (isManaged) stop(host, [UNIT_NAME, ...(hasFirewall ? [FIREWALL_UNIT_NAME] : [])]);
  for (const path of [wants, unit, firewallWants, firewallUnit]) rmSync(path, { force: true });
  const removed = [`removed ${unit}`, ...(hasFirewall ? [`removed ${firewallUnit}`] : [])];
  if (!isManaged) return removed;
  host.run('systemctl', ['daemon-reload']);
  return ['stopped and disabled the service', ...removed, ...openFirewall(host)];
}

/** Its rules outlive the agent, an isolation too: nobody would take them away any more. */
function openFirewall(host: ServiceHost): string[] {
  if (!host.has('nft')) return [];
  const removed = FAMILIES.filter((family) => host.run('nft', ['delete', 'table', family, TABLE]).status === 0);
  return removed.map((family) => `removed the firewall's table ${family} ${TABLE}`);
}

function keptData({ directory }: InstalledUnit, root: string): string {
  const folder = `${root}${directory}`;
  return existsSync(folder) ? `kept ${folder}: --purge removes it` : `there is no ${folder}`;
}

function removeData({ host, root }: UninstallOptions, { directory, user, isUserOwn }: InstalledUnit): string[] {
  const folder = `${root ?? host.tree}${directory}`;
  const isThere = existsSync(folder);
  rmSync(folder, { recursive: true, force: true });
  const isUserRemoved = root === undefined && isUserOwn;
  return [isThere ? `removed ${folder}` : `there is no ${folder}`, ...(isUserRemoved ? [removeUser(host, user)] : [])];
}

function assertPurgeable(directory: string, root: string): void {
  const folder = `${root}${directory}`;
  const fault = placeFault(directory);
  if (fault !== undefined) throw new ServiceFault([`${directory} ${fault}`]);
  const content = contentFault(folder);
  if (content !== undefined) throw new ServiceFault([`${folder} ${content}: remove it by hand, without --purge`]);
}

function stop(host: ServiceHost, units: readonly string[]): void {
  const { status, stderr } = host.run('systemctl', ['disable', '--now', '--quiet', ...units]);
  if (status !== 0) throw new ServiceFailure(`systemctl disable --now ended with ${status}: ${stderr.trim()}`);
}

function removeUser(host: ServiceHost, user: string): string {
  const { status, stderr } = host.run('userdel', [user]);
  return status === 0 ? `removed the user ${user}` : `the user ${user} stays: ${stderr.trim()}`;
}
