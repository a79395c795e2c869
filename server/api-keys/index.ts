export { apiKeyDependents } from './api-key-dependents.js';
export { apiKeyRoutes } from './api-key-routes.js';
export { createApiKeyService, type ApiKeyService } from './api-key-service.js';
