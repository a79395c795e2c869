import type { RouteDefinition } from '../admin-api/route.js';
import { previewRoutes } from './preview-routes.js';
import { createPreviewService, type PreviewDeps } from './preview-service.js';

export { listSubjects, nameComputers, type Subject } from './preview-query.js';
export { changedPolicies, proposedPolicy } from './proposed-edit.js';
export type { PreviewDeps } from './preview-service.js';

export function composePreviews(deps: PreviewDeps): { readonly routes: readonly RouteDefinition[] } {
  return { routes: previewRoutes(createPreviewService(deps)) };
}
