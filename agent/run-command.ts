import { readBootId } from '../lib/clock.js';
import { createLog } from '../lib/log.js';
import { readAgentFile } from './agent-file.js';
import type { AgentOptions } from './agent-options.js';
import type { CommandContext } from './commands.js';
import { composeAgent } from './compose.js';
import type { RunCommand } from './config.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { createNftFilter } from './firewall/nft-program.js';
import { LogTail } from './log-tail.js';
import { ServiceNotifier } from './service/notifier.js';

/** Runs the agent until it is asked to end. */
export async function runAgent(command: RunCommand, context: CommandContext): Promise<ExitCode> {
  const { clock, random } = context;
  const { directory, logLevel: level, logsToJournal, serviceManager } = command;
  const logTail = new LogTail();
  const log = createLog({
    name: 'wardbeat-agent',
    level,
    toStderr: true,
    toJournal: logsToJournal,
    onLine: logTail.add,
  });
  const notifier = serviceManager && new ServiceNotifier({ clock, log, manager: serviceManager });
  let restart = (): void => undefined;
  const askedToRestart = new Promise<'restart'>((resolve) => (restart = () => resolve('restart')));
  const daemon = await composeAgent({
    directory,
    clock,
    random,
    log,
    bootId: readBootId(),
    clockDetection: command.clockDetection,
    logTail,
    restart,
    ...portsOf(command),
    ...(notifier ? supervision(notifier) : {}),
    ...(command.firewall ? { packetFilter: createNftFilter({ clock }) } : {}),
    ...(command.listenerPort === undefined ? {} : { listenerPort: command.listenerPort }),
  });
  await daemon.start();
  await notifier?.ready(daemon.status().state);
  const reason = await Promise.race([context.untilAskedToStop().then(() => 'shutdown' as const), askedToRestart]);
  const told = notifier?.stopping();
  await daemon.stop(reason);
  await told;
  if (reason === 'restart' && !command.isSupervised) context.startAnother?.();
  return EXIT.ok;
}

/** The ports of this run, which count before those of `agent.json`. */
function portsOf({ directory, listenerPort, metricsPort: given }: RunCommand) {
  const { metricsPort = given } = given === undefined ? readAgentFile(directory) : {};
  return {
    ...(metricsPort === undefined ? {} : { metricsPort }),
    ...(listenerPort === undefined ? {} : { listenerPort }),
  };
}

function supervision(
  notifier: ServiceNotifier,
): Pick<AgentOptions, 'onProgress' | 'longestSilenceMs' | 'onStateChange'> {
  return {
    onProgress: notifier.gotOn,
    longestSilenceMs: notifier.longestSilenceMs,
    onStateChange: (state) => notifier.status(state),
  };
}
