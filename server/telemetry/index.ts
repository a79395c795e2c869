export { PACKAGE_FILTER_MAX, packageFilterFault, parsePackageFilter, type PackageFilter } from './package-filter.js';
export { telemetryRoutes } from './telemetry-routes.js';
