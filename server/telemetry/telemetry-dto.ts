import { IsArray, IsInt, IsObject } from 'class-validator';
import {
  INVENTORY_KINDS,
  MAX_ADDRESS_TEXT,
  MAX_ITEM_TEXT,
  PACKAGE_SOURCES,
  SOCKET_PROTOCOLS,
} from '../../protocol/inventory-messages.js';
import { OneOf, Text, Uuid } from '../admin-api/dto.js';
import { refTo } from '../admin-api/dto-schemas.js';
import { Instant, Shown } from '../admin-api/shown.js';

const NULLABLE_INSTANT = { type: ['string', 'null'], format: 'date-time' };
const NULLABLE_INTEGER = { type: ['integer', 'null'] };
const NULLABLE_NUMBER = { type: ['number', 'null'] };
const NULLABLE_TEXT = { type: ['string', 'null'] };
/** Of a path or a device; longer ones are cut. */
export const LONGEST_PATH = 256;
/** Of a file system's type and an interface. */
export const LONGEST_NAME = 64;

export class InventoryStandingDto {
  @OneOf(...INVENTORY_KINDS)
  kind!: string;

  /** How many the computer has. */
  @IsInt()
  total!: number;

  /** How many of them are listed; the surplus is not. */
  @IsInt()
  listed!: number;

  /** When the last change of the list was received. */
  @Instant()
  changedAt!: string;
}

export class InventoryDto {
  /** Kinds that the agent has told of. */
  @IsArray()
  @Shown({ type: 'array', items: refTo(InventoryStandingDto) })
  kinds!: readonly InventoryStandingDto[];
}

export class PackageDto {
  /** Made of what tells it from others of its computer. */
  @Uuid()
  id!: string;

  @Text({ max: MAX_ITEM_TEXT })
  name!: string;

  @Text({ max: MAX_ITEM_TEXT })
  version!: string;

  @Text({ max: MAX_ITEM_TEXT })
  architecture!: string;

  @OneOf(...PACKAGE_SOURCES)
  source!: string;
}

/** Of a socket: its user, and its process where the agent may see it. */
class SocketDto {
  @Uuid()
  id!: string;

  @OneOf(...SOCKET_PROTOCOLS)
  protocol!: string;

  @Shown(NULLABLE_INTEGER)
  uid!: number | null;

  @Shown(NULLABLE_INTEGER)
  processId!: number | null;

  @Shown(NULLABLE_TEXT)
  processName!: string | null;
}

export class ListeningPortDto extends SocketDto {
  @Text({ max: MAX_ADDRESS_TEXT })
  address!: string;

  @IsInt()
  port!: number;
}

export class ConnectionDto extends SocketDto {
  @Text({ max: MAX_ADDRESS_TEXT })
  localAddress!: string;

  @IsInt()
  localPort!: number;

  @Text({ max: MAX_ADDRESS_TEXT })
  remoteAddress!: string;

  @IsInt()
  remotePort!: number;
}

export class MountDto {
  @Text({ max: LONGEST_PATH })
  path!: string;

  @Text({ max: LONGEST_PATH })
  device!: string;

  @Text({ max: LONGEST_NAME })
  type!: string;

  @Shown(NULLABLE_INTEGER)
  totalBytes!: number | null;

  @Shown(NULLABLE_INTEGER)
  freeBytes!: number | null;
}

export class InterfaceTrafficDto {
  @Text({ max: LONGEST_NAME })
  name!: string;

  @Shown(NULLABLE_INTEGER)
  receivedBytes!: number | null;

  @Shown(NULLABLE_INTEGER)
  sentBytes!: number | null;
}

export class AmountDto {
  @Shown(NULLABLE_INTEGER)
  totalBytes!: number | null;

  @Shown(NULLABLE_INTEGER)
  availableBytes!: number | null;
}

/** The latest values; null is what the agent did not tell, as while collection is stopped. */
export class MetricsDto {
  /** When the report came that they are of. */
  @Shown(NULLABLE_INSTANT)
  receivedAt!: string | null;

  @Shown(NULLABLE_INTEGER)
  uptimeSeconds!: number | null;

  @Shown(NULLABLE_INTEGER)
  processes!: number | null;

  /** Over 1, 5 and 15 minutes. */
  @IsArray()
  @Shown({ type: 'array', items: { type: 'number' } })
  load!: readonly number[];

  /** Of all processors, between the last two reports. */
  @Shown(NULLABLE_NUMBER)
  cpuUsedPercent!: number | null;

  @IsObject()
  @Shown(refTo(AmountDto))
  memory!: AmountDto;

  @IsObject()
  @Shown(refTo(AmountDto))
  swap!: AmountDto;

  @IsArray()
  @Shown({ type: 'array', items: refTo(MountDto) })
  mounts!: readonly MountDto[];

  /** Counted since each interface came up. */
  @IsArray()
  @Shown({ type: 'array', items: refTo(InterfaceTrafficDto) })
  network!: readonly InterfaceTrafficDto[];
}
