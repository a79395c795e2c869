import type { AgentOptions } from '../agent-options.js';
import type { Settings } from '../apply-settings.js';
import type { Identity } from '../data-directory.js';
import type { Directions } from '../directions.js';
import type { Observer } from '../observer.js';
import type { Renewal } from '../renewal.js';
import type { Spool } from '../spool/spool.js';
import type { StateStore } from '../state-store.js';
import type { AgentStatus } from '../status.js';
import type { ManagerTransport } from '../transport/manager-transport.js';
import { basicExecutors } from './basic-executors.js';
import type { CommandJournal } from './command-journal.js';
import { CommandRunner } from './command-runner.js';
import { diagnosticExecutors } from './diagnostics.js';
import type { ExecutorTable } from './executor.js';
import { LogLevelSwitch } from './log-level-switch.js';
import { Redactor } from './redact.js';
import { Uploads } from './upload.js';

export interface AgentCommands {
  readonly runner: CommandRunner;
  stop(): Promise<void>;
}

export interface AgentCommandsDeps {
  readonly options: AgentOptions;
  readonly identity: Identity;
  readonly instanceId: string;
  readonly journal: CommandJournal;
  readonly state: StateStore;
  readonly spool: Spool;
  readonly settings: Settings;
  readonly observer: Observer;
  readonly directions: Directions;
  readonly renewal: Renewal;
  readonly transport: Pick<ManagerTransport, 'connect' | 'rebuild'>;
  /** The next report tells everything. */
  readonly tellAll: () => void;
  /** Begins an exchange. */
  readonly wake: () => void;
  readonly status: () => AgentStatus;
  /** Executors of other parts of the agent, which come before those of the same type here. */
  readonly executors?: ExecutorTable;
}

/** Everything that commands need to run on this agent. */
export function composeAgentCommands(deps: AgentCommandsDeps): AgentCommands {
  const { options, state, directions, transport, wake } = deps;
  const { clock, random, log } = options;
  const logLevel = new LogLevelSwitch(clock, log);
  const { restart, logTail } = options;
  const uploads = new Uploads({
    clock,
    random,
    mayDial: () => directions.dialsByItself,
    connect: (milliseconds, signal) => transport.connect(milliseconds, signal),
  });
  const runner = new CommandRunner({
    clock,
    log,
    journal: deps.journal,
    executors: {
      ...basicExecutors({
        ...deps,
        clock,
        log,
        logLevel,
        restart,
        reload() {
          transport.rebuild();
          deps.tellAll();
        },
      }),
      ...diagnosticExecutors({ ...deps, clock, logTail, redactor: () => redactorOf(deps), uploads }),
      ...deps.executors,
    },
    uploads,
    managerNow: () => managerNow(options, state) ?? clock.wall(),
    onNews: wake,
  });
  return {
    runner,
    async stop() {
      logLevel.stop();
      await runner.stop();
    },
  };
}

/** By the manager's last word since this boot; undefined without one. */
export function managerNow(
  { clock, bootId }: Pick<AgentOptions, 'clock' | 'bootId'>,
  { progress: { anchor } }: Pick<StateStore, 'progress'>,
): number | undefined {
  return anchor?.bootId === bootId ? anchor.managerWall + clock.boot() - anchor.boot : undefined;
}

function redactorOf({ identity, state }: AgentCommandsDeps): Redactor {
  return new Redactor([identity.keyPem, state.progress.identityToken]);
}
