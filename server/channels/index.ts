export { composeChannels, type ChannelsDeps } from './compose-channels.js';
export { shownChannel, type ShownChannel } from './channel-rules.js';
export {
  NO_CHANNEL_WAKES,
  type ChannelCounts,
  type ChannelPeer,
  type Channels,
  type ChannelWakes,
} from './channels.js';
export { createChannelWakeRelay, type ChannelWakeRelay } from './channel-wake-relay.js';
