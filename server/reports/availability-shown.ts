import { availabilityPercent, meanRepairMs, type Availability } from '../../policies/availability-rules.js';
import { csvRecord } from '../../lib/csv.js';
import type { AvailabilityItemDto, AvailabilitySumsDto } from './availability-dto.js';

/** Who the sums are of. */
export interface Shown {
  readonly id: string | null;
  readonly name: string | null;
  readonly sums: Availability;
}

export function toSums(sums: Availability): AvailabilitySumsDto {
  const meanMs = meanRepairMs(sums);
  return {
    computers: sums.computers,
    rangeSeconds: seconds(sums.rangeMs),
    onlineSeconds: seconds(sums.onlineMs),
    lateSeconds: seconds(sums.lateMs),
    offlineSeconds: seconds(sums.offlineMs),
    stoppedSeconds: seconds(sums.stoppedMs),
    pendingSeconds: seconds(sums.pendingMs),
    revokedSeconds: seconds(sums.revokedMs),
    notEnrolledSeconds: seconds(sums.notEnrolledMs),
    deafSeconds: seconds(sums.deafMs),
    maintenanceSeconds: seconds(sums.maintenanceMs),
    availabilityPercent: availabilityPercent(sums),
    outages: sums.outages,
    longestOutageSeconds: seconds(sums.longestOutageMs),
    mttrSeconds: meanMs === null ? null : seconds(meanMs),
  };
}

function seconds(ms: number): number {
  return Math.round(ms) / 1000;
}

export function toItem({ id, name, sums }: Shown): AvailabilityItemDto {
  return { id, name, ...toSums(sums) };
}

const COLUMNS = [
  'id',
  'name',
  'availabilityPercent',
  'onlineSeconds',
  'lateSeconds',
  'offlineSeconds',
  'stoppedSeconds',
  'pendingSeconds',
  'revokedSeconds',
  'notEnrolledSeconds',
  'deafSeconds',
  'maintenanceSeconds',
  'rangeSeconds',
  'computers',
  'outages',
  'longestOutageSeconds',
  'mttrSeconds',
] as const satisfies readonly (keyof AvailabilityItemDto)[];

/** The range stands in every record, so that files can be put together. */
export const CSV_HEADER = csvRecord(['coveredFrom', 'to', ...COLUMNS]);

export function toCsv(item: AvailabilityItemDto, range: { readonly coveredFrom: string; readonly to: string }): string {
  return csvRecord([range.coveredFrom, range.to, ...COLUMNS.map((column) => item[column])]);
}
