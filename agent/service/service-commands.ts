import type { Clock } from '../../lib/clock.js';
import { dataDirectory } from '../data-directory.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { AgentNotRunning, callAgent } from '../local-socket/socket-client.js';
import { installService, plannedFiles, ServiceFailure, ServiceFault } from './install.js';
import type { InstallCommand, UninstallCommand } from './service-arguments.js';
import { systemHost, type ServiceHost } from './service-host.js';
import { uninstallService } from './uninstall.js';
import { UNIT_NAME, type ServiceProgram } from './unit-file.js';

export interface ServiceCommandContext {
  readonly clock: Clock;
  readonly program: ServiceProgram;
  readonly searchPath: string;
  readonly print: (text: string) => void;
  readonly complain: (text: string) => void;
  /** The machine itself unless given. */
  readonly host?: ServiceHost;
}

const CALL_MS = 5000;

export async function runServiceCommand(
  command: InstallCommand | UninstallCommand,
  context: ServiceCommandContext,
): Promise<ExitCode> {
  try {
    for (const line of await carryOut(command, context)) context.print(line);
    return EXIT.ok;
  } catch (error) {
    if (error instanceof ServiceFault) {
      for (const fault of error.faults) context.complain(`wardbeat-agent: ${fault}`);
      return error.isInUse ? EXIT.inUse : EXIT.usage;
    }
    if (!(error instanceof ServiceFailure)) throw error;
    context.complain(`wardbeat-agent: ${error.message}`);
    return EXIT.notInContact;
  }
}

async function carryOut(
  command: InstallCommand | UninstallCommand,
  context: ServiceCommandContext,
): Promise<readonly string[]> {
  const host = context.host ?? systemHost(context.searchPath);
  if (command.command === 'uninstall') return uninstallService({ ...command, host });
  const isLocal = command.root === undefined && !command.print;
  const isRunningElsewhere = isLocal && (await runsElsewhere(command.directory, host, context));
  const options = { ...command, host, program: context.program, isRunningElsewhere };
  return command.print ? plannedFiles(options) : installService(options);
}

/** An agent answers on the directory, and it is not the service. */
async function runsElsewhere(path: string, host: ServiceHost, { clock }: ServiceCommandContext): Promise<boolean> {
  const { socketName } = dataDirectory(path);
  try {
    await callAgent({ folder: path, name: socketName, clock, milliseconds: CALL_MS }, { op: 'status' });
  } catch (error) {
    if (error instanceof AgentNotRunning) return false;
  }
  return !host.isBooted || host.run('systemctl', ['is-active', '--quiet', UNIT_NAME]).status !== 0;
}
