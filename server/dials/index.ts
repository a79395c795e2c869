export { composeDials, type DialsDeps } from './compose-dials.js';
export type { DialMetrics } from './dial-metrics.js';
export { DIAL_ANSWERED, NO_DIAL_REQUESTS, type DialRequests } from './dial-requests.js';
export { notifyDials } from './dial-watch.js';
export { dialSettingsOf } from './dial-settings.js';
export type { Dials } from './dials.js';
export { orderFarewell } from './farewell-repository.js';
