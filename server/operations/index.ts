export { createOperationFeed } from './operation-feed.js';
export { operationRoutes } from './operation-routes.js';
