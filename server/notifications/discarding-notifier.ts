import type { Notifier } from './notice.js';

/** Tells nobody: for a manager without channels. */
export function createDiscardingNotifier(): Notifier {
  return { enqueue: async () => undefined };
}
