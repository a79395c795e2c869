import { NO_CHANNEL_WAKES, type ChannelWakes } from './channels.js';

/** Hands wakes on to whatever holds channels here, once that exists. */
export interface ChannelWakeRelay extends ChannelWakes {
  connect(channels: ChannelWakes): void;
}

export function createChannelWakeRelay(): ChannelWakeRelay {
  let target = NO_CHANNEL_WAKES;
  return {
    connect: (channels) => void (target = channels),
    wake: (computerIds, reason) => target.wake(computerIds, reason),
  };
}
