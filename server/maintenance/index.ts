export { createInMaintenance } from './computers-in-maintenance.js';
export { PresentMaintenanceDto } from './maintenance-dto.js';
export { readWindowsFrom } from './maintenance-repository.js';
export { maintenanceRoutes, type MaintenanceRoutesDeps } from './maintenance-routes.js';
export { createMaintenanceView, type MaintenanceSnapshot, type MaintenanceView } from './maintenance-view.js';
export type { MaintenanceOrder, MaintenanceSubject } from './maintenance-window.js';
