export {
  composeNotifications,
  NOTIFICATIONS,
  notificationRoutes,
  type Notifications,
} from './compose-notifications.js';
export type { Notice, NoticeKind, Notifier } from './notice.js';
export { routingDependents } from './routing-dependents.js';
