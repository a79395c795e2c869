export { createSessionRepository } from './session-repository.js';
export { sessionRoutes } from './session-routes.js';
export { createSessionService, type SessionService } from './session-service.js';
