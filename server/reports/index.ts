export { composeReports, type ReportsDeps } from './compose-reports.js';
