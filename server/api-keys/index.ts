export { apiKeyRoutes } from './api-key-routes.js';
export { createApiKeyService, type ApiKeyService } from './api-key-service.js';
