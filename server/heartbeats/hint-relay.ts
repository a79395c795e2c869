import type { LivenessHints } from './liveness-hints.js';

/** Hands hints on to all who asked for them, in their order. */
export interface HintRelay extends LivenessHints {
  add(listener: LivenessHints): void;
}

export function createHintRelay(...first: readonly LivenessHints[]): HintRelay {
  const listeners = [...first];
  return {
    add: (listener) => void listeners.push(listener),
    heard(hints) {
      for (const listener of listeners) listener.heard(hints);
    },
    reconsider(computerIds) {
      for (const listener of listeners) listener.reconsider(computerIds);
    },
  };
}
