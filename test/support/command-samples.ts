import { randomUUID } from 'node:crypto';
import type { Command } from '../../server/agent-commands/command.js';

/** A command that was just queued; `changes` make it another one. */
export function sampleCommand(changes: Partial<Command> = {}): Command {
  return {
    id: randomUUID(),
    computerId: '00000000-0000-4000-8000-000000000001',
    number: 1,
    type: 'get-config',
    args: {},
    priority: 0,
    state: 'queued',
    isDue: true,
    idempotencyKey: null,
    requestDigest: Buffer.alloc(32),
    operationId: null,
    createdBy: 'ada',
    queuedAt: 1000,
    notBefore: null,
    expiresAt: 100_000,
    deliveredAt: null,
    acknowledgedAt: null,
    startedAt: null,
    endedAt: null,
    reason: null,
    detail: null,
    result: null,
    ...changes,
  };
}
