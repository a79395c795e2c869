import type { Clock } from '../../lib/clock.js';
import { MAX_UPLOAD_BYTES } from '../../protocol/upload-messages.js';
import { AGENT_VERSION, platform } from '../agent-version.js';
import type { Settings } from '../apply-settings.js';
import type { LogTail } from '../log-tail.js';
import type { Observer } from '../observer.js';
import type { AgentStatus } from '../status.js';
import type { CommandJournal } from './command-journal.js';
import { notSupported, type ExecutorTable } from './executor.js';
import type { Redactor } from './redact.js';
import type { Uploads } from './upload.js';

export interface DiagnosticsDeps {
  readonly clock: Clock;
  readonly settings: Pick<Settings, 'applied' | 'values'>;
  readonly observer: Pick<Observer, 'snapshot' | 'agentParts'>;
  readonly journal: Pick<CommandJournal, 'entries'>;
  readonly status: () => AgentStatus;
  /** Undefined where this agent's log is another's. */
  readonly logTail: LogTail | undefined;
  /** With the secrets that this agent knows now. */
  readonly redactor: () => Redactor;
  readonly uploads: Pick<Uploads, 'send'>;
}

const DEFAULT_LINES = 1000;
const LOGS_DEFAULT_LINES = 20_000;
const COMMANDS_SHOWN = 100;

/** The commands that bring a file. Nothing leaves that was not redacted first. */
export function diagnosticExecutors(deps: DiagnosticsDeps): ExecutorTable {
  return {
    'collect-diagnostics': {
      execute: ({ lines = DEFAULT_LINES }, context) =>
        deps.uploads.send({ contentType: 'application/json', text: bundle(deps, Number(lines)) }, context),
    },
    'upload-logs': {
      async execute({ lines = LOGS_DEFAULT_LINES }, context) {
        if (!deps.logTail) throw notSupported('This agent keeps no lines of its log.');
        const text = bounded(redactedLines(deps, Number(lines)));
        return deps.uploads.send({ contentType: 'application/x-ndjson', text: `${text.join('\n')}\n` }, context);
      },
    },
  };
}

function redactedLines({ logTail, redactor }: DiagnosticsDeps, count: number): string[] {
  const redact = redactor();
  return (logTail?.last(count) ?? []).map((line) => redact.line(line));
}

/** The newest that fit into a file. */
function bounded(lines: readonly string[], most = MAX_UPLOAD_BYTES / 2): readonly string[] {
  let bytes = 0;
  const first = lines.findLastIndex((line) => {
    bytes += Buffer.byteLength(line) + 8;
    return bytes > most;
  });
  return lines.slice(first + 1);
}

/** What helps to find out what is wrong with an agent; nothing of what programs handed in, and no arguments of commands. */
function bundle(deps: DiagnosticsDeps, lines: number): string {
  const { clock, settings, observer, status, redactor } = deps;
  const { snapshot } = observer;
  const parts = {
    format: 'wardbeat-diagnostics/1',
    madeAt: new Date(clock.wall()).toISOString(),
    agent: {
      version: AGENT_VERSION,
      platform: platform(),
      node: process.versions.node,
      pid: process.pid,
      uptimeSeconds: Math.round(process.uptime()),
      memory: process.memoryUsage(),
      resources: process.resourceUsage(),
    },
    status: status(),
    settings: { fingerprint: settings.applied?.fingerprint ?? null, values: settings.values },
    agentParts: observer.agentParts,
    components: snapshot.components,
    counters: snapshot.counters,
    facts: snapshot.facts,
    collectorErrors: snapshot.errors,
    commands: commandsOf(deps),
  };
  const log = bounded(redactedLines(deps, lines));
  return JSON.stringify({ ...(redactor().value(parts) as object), log });
}

function commandsOf({ journal }: DiagnosticsDeps): unknown {
  return journal.entries.slice(-COMMANDS_SHOWN).map(({ order, state, outcome }) => ({
    id: order.id,
    number: order.number,
    type: order.type,
    state: outcome?.state ?? state,
    ...(outcome?.reason === undefined ? {} : { reason: outcome.reason }),
  }));
}
