import type { SelfDialler } from '../../server/listening/self-dialler.js';
import type { SimulatedProcess } from './simulated-machine.js';

const HANDSHAKE_MS = 5;

/** The manager's second thread: it stands still with its process, and finds the agent port open. */
export function createSimulatedThread(process: SimulatedProcess): SelfDialler {
  return {
    start: async () => undefined,
    stop: async () => undefined,
    turnedMs: () => process.ranMs(),
    async dial() {
      await process.clock.sleep(HANDSHAKE_MS);
      return { fault: null, tookMs: HANDSHAKE_MS, isVoid: false };
    },
  };
}
