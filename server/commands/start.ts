import { relative } from 'node:path';
import { quoteForShell } from '../../lib/shell-quote.js';
import { createSystemClock } from '../../lib/clock.js';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import { compose, type Announcement, type Manager } from '../compose.js';
import { readConfig } from '../config.js';
import { MANAGER_VERSION } from '../version.js';
import { complain, EXIT, UsageError, type Command } from './command.js';
import { failureOf } from './failure.js';

export const START: Command = {
  name: 'start',
  summary: 'runs the manager until SIGTERM or SIGINT',
  run: start,
};

async function start(words: readonly string[]): Promise<number> {
  if (words.length > 0) throw new UsageError('start takes no further words');
  const { config, secrets } = readConfig();
  process.umask(0o077);
  const log = createLog({ name: 'wardbeat', level: config.logLevel, toStderr: true });
  const edges = { clock: createSystemClock(), random: createSystemRandom(), log };
  let failed: number | undefined;
  const onStartFailed = (error: unknown): void => {
    const { text, code } = failureOf(error);
    failed = complain(text, code);
  };
  const manager = compose({ config, secrets, edges, onStartFailed });
  const stopped = untilSignal(manager);
  try {
    announce(await manager.start());
  } catch (error) {
    if (failed !== undefined) return failed;
    log.debug({ err: error }, 'the start was ended by a signal');
  }
  await stopped;
  return EXIT.ok;
}

/**
 * SIGTERM drains, where that is configured, and then stops the manager in order, also while it starts. SIGINT stops without a drain, as
 * does a second signal during one. A signal during the stop ends the process at once.
 */
function untilSignal(manager: Manager): Promise<void> {
  return new Promise((resolve, reject) => {
    let phase: 'serving' | 'draining' | 'stopping' = 'serving';
    const stop = (): void => {
      phase = 'stopping';
      manager.stop().then(resolve, reject);
    };
    const onSignal = (signal: NodeJS.Signals): void => {
      if (phase === 'stopping') process.exit(EXIT.failed);
      if (phase === 'draining' || signal === 'SIGINT') return stop();
      phase = 'draining';
      manager.drain().then(stop, reject);
    };
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, onSignal);
  });
}

function announce(facts: Announcement): void {
  const lines = [
    `Wardbeat ${MANAGER_VERSION} is running; data in ${facts.dataDir}`,
    ...(facts.adminUrl ? [`  admin API    ${facts.adminUrl}/api/v1 (described at ${facts.adminUrl}/docs)`] : []),
    ...(facts.adminUrl && facts.adminFingerprint ? [`  admin TLS    SHA-256 ${facts.adminFingerprint}`] : []),
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
  if (agentUrl === null) return [];
  if (tokenFile === undefined)
    return ['  enroll       with a token of POST /api/v1/enrollment-tokens, which answers the command'];
  const enroll = `npm run agent -- enroll --manager ${agentUrl} --token-file ${quoteForShell(shown(tokenFile))}`;
  return ['Enroll this machine and let it report, in another terminal:', `  ${enroll}`, '  npm run agent -- run'];
}

function shown(path: string): string {
  const near = relative(process.cwd(), path);
  return near === '' || near.startsWith('..') ? path : near;
}
