#!/usr/bin/env node
import 'reflect-metadata';
import { relative } from 'node:path';
import { createSystemClock } from '../lib/clock.js';
import { createLog } from '../lib/log.js';
import { createSystemRandom } from '../lib/random.js';
import { compose, type Announcement, type Manager } from './compose.js';
import { ConfigurationError, readConfig } from './config.js';
import { DataDirectoryInUse } from './data-directory.js';
import { MANAGER_VERSION } from './version.js';

const USAGE = `Usage: wardbeat start

  start   runs the manager until SIGTERM or SIGINT

The environment configures it; the README lists the names.`;

const EXIT = { ok: 0, failed: 1, usage: 2, dataDirectoryInUse: 5 } as const;

async function main(argv: readonly string[]): Promise<number> {
  const [command = 'start', ...rest] = argv;
  if (command === '--version') return say(MANAGER_VERSION);
  if (command === '--help') return say(USAGE);
  if (command !== 'start' || rest.length > 0) return complain(USAGE, EXIT.usage);
  return start();
}

async function start(): Promise<number> {
  const { config, secrets } = readConfig();
  process.umask(0o077);
  const log = createLog({ name: 'wardbeat', level: config.logLevel, toStderr: true });
  const edges = { clock: createSystemClock(), random: createSystemRandom(), log };
  const manager = compose({ config, secrets, edges });
  const stopped = untilSignal(manager);
  const started = manager.start().then(announce);
  await Promise.race([started, stopped]);
  await stopped;
  return EXIT.ok;
}

/** The first signal stops the manager in order, also while it starts; the second ends the process at once. */
function untilSignal(manager: Manager): Promise<void> {
  return new Promise((resolve, reject) => {
    let signals = 0;
    const onSignal = (): void => {
      signals += 1;
      if (signals > 1) process.exit(EXIT.failed);
      manager.stop().then(resolve, reject);
    };
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, onSignal);
  });
}

function announce(facts: Announcement): void {
  const lines = [
    `Wardbeat ${MANAGER_VERSION} is running; data in ${facts.dataDir}`,
    ...(facts.adminUrl ? [`  admin API    ${facts.adminUrl}/api/v1 (described at ${facts.adminUrl}/docs)`] : []),
    ...(facts.agentUrl ? [`  agent port   ${facts.agentUrl}`] : []),
    `  authority    SHA-256 ${facts.caFingerprint}`,
    ...passwordLines(facts),
    ...tokenLines(facts),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

function passwordLines({ generatedPassword, dataDir, forgetPasswordFile }: Announcement): string[] {
  if (generatedPassword === undefined) return [];
  if (!process.stdout.isTTY) return [`  first user   admin; its password is in ${shown(dataDir)}/first-admin-password`];
  forgetPasswordFile();
  return [`  first user   admin; its password, shown this once: ${generatedPassword}`];
}

function tokenLines({ tokenFile, agentUrl }: Announcement): string[] {
  if (agentUrl === undefined) return [];
  if (tokenFile === undefined)
    return ['  enroll       with a token of POST /api/v1/enrollment-tokens, which answers the command'];
  const enroll = `npm run agent -- enroll --manager ${agentUrl} --token-file ${shown(tokenFile)}`;
  return ['Enroll this machine and let it report, in another terminal:', `  ${enroll}`, '  npm run agent -- run'];
}

function shown(path: string): string {
  const near = relative(process.cwd(), path);
  return near === '' || near.startsWith('..') ? path : near;
}

function say(text: string): number {
  process.stdout.write(`${text}\n`);
  return EXIT.ok;
}

function complain(text: string, code: number): number {
  process.stderr.write(`${text}\n`);
  return code;
}

function explain(error: unknown): number {
  if (error instanceof ConfigurationError) return complain(error.message, EXIT.usage);
  if (error instanceof DataDirectoryInUse) return complain(error.message, EXIT.dataDirectoryInUse);
  return complain(
    `The manager did not start: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    EXIT.failed,
  );
}

process.exitCode = await main(process.argv.slice(2)).catch(explain);
