import { DatamoverError, type FailureKind } from '../../errors.ts';
import { isGone } from '../../process/owner.ts';
import type { TargetNeed, TargetPlan } from '../driver.ts';
import { checkWishes } from '../wishes.ts';
import { findDataset, number, restoringOf, text, type Dataset } from './inspect.ts';
import { parentOf, parseDataset } from './name.ts';
import { carried, checkProperties, CARRIED } from './properties.ts';
import { fieldOf } from './record-facts.ts';

/** What a restore will make of a volume. */
export interface ZvolPlan extends TargetPlan {
  readonly thick: boolean;
  readonly volblocksize: number;
  /** Set when the volume is made. */
  readonly properties: Readonly<Record<string, string>>;
  /** A restore that was killed left half a volume: it goes first. */
  readonly replaces: boolean;
}

const OPERATION = 'restore to';
/** OpenZFS' own default since 2.2. */
const BLOCK_BYTES = 16 << 10;
/** Decided here, or by the size of the new volume. */
const NOT_CARRIED = [
  'recordsize',
  'quota',
  'refquota',
  'reservation',
  'refreservation',
  'atime',
  'xattr',
  'acltype',
];

export async function planZvol(location: string, need: TargetNeed, signal?: AbortSignal): Promise<ZvolPlan> {
  const name = parseDataset(location);
  checkWishes(location, need.wishes, ['thick', 'volblocksize', 'properties'], 'a ZFS volume');
  checkProperties(location, need.wishes?.properties);
  const there = await findDataset(name, OPERATION, signal);
  if (there === undefined) return planNew(name, need, false, signal);
  const [owner, since] = restoringOf(there.properties)?.split(':') ?? [];
  if (owner === undefined) return planExisting(there, need);
  if (isGone(owner, Number(since) * 1000, 'one machine')) return planNew(name, need, true, signal);
  throw refusal(name, 'another restore is at work on it', 'wait for it, or name another volume');
}

async function planNew(
  name: string,
  need: TargetNeed,
  replaces: boolean,
  signal?: AbortSignal,
): Promise<ZvolPlan> {
  const recorded = fieldOf(need.record, 'volblocksize');
  const wished = need.wishes?.volblocksize;
  if (wished !== undefined && !isBlockSize(wished)) {
    throw refusal(
      name,
      `${String(wished)} bytes are no size of blocks`,
      'a power of two from 512 to 131072',
      'usage',
    );
  }
  const volblocksize = wished ?? (isBlockSize(recorded) ? recorded : BLOCK_BYTES);
  // ZFS takes whole blocks only.
  const bytes = Math.ceil(need.bytes / volblocksize) * volblocksize;
  const thick = need.wishes?.thick ?? fieldOf(need.record, 'thick') === true;
  await checkRoom(name, { ...need, bytes }, thick, signal);
  const names = CARRIED.filter((property) => !NOT_CARRIED.includes(property));
  const properties = { ...carried(fieldOf(need.record, 'properties'), names), ...need.wishes?.properties };
  return { location: name, bytes, action: 'create', thick, volblocksize, properties, replaces };
}

function planExisting({ name, type, properties }: Dataset, { bytes, force, wishes }: TargetNeed): ZvolPlan {
  const has = number(properties, 'volsize') ?? 0;
  const volblocksize = number(properties, 'volblocksize') ?? BLOCK_BYTES;
  if (type !== 'volume') throw refusal(name, 'it is a filesystem, the backup is an image', 'name a volume');
  if (!force) {
    throw refusal(
      name,
      `the volume exists and has ${has} bytes`,
      'use --force to overwrite it, or name another volume',
    );
  }
  if (has < bytes) {
    throw refusal(
      name,
      `the volume has ${has} bytes, the image ${bytes}`,
      'choose a target that is at least as large',
      'target-too-small',
    );
  }
  if (wishes !== undefined && Object.keys(wishes).length > 0) {
    throw refusal(name, 'it exists, and keeps the properties that it has', 'leave the wishes out', 'usage');
  }
  if (text(properties, 'readonly') === 'on')
    throw refusal(name, 'it is read-only', `zfs set readonly=off ${name}`);
  const thick = (number(properties, 'refreservation') ?? 0) >= has;
  return {
    location: name,
    bytes: has,
    action: 'overwrite',
    thick,
    volblocksize,
    properties: {},
    replaces: false,
  };
}

/** A thick volume needs all of its bytes at once; a thin one in the end what the backup's took, if that is known. */
async function checkRoom(
  name: string,
  { bytes, record }: TargetNeed,
  thick: boolean,
  signal?: AbortSignal,
): Promise<void> {
  const folder = parentOf(name);
  if (folder === undefined) throw refusal(name, 'it is a pool', `name a volume in it: ${name}/restored`);
  const parent = await findDataset(folder, OPERATION, signal);
  if (parent === undefined) throw refusal(name, `there is no ${folder}`, `zfs create -p ${folder}`);
  const available = number(parent.properties, 'available') ?? Infinity;
  const referenced = fieldOf(record, 'referencedBytes');
  const needed = thick ? bytes : typeof referenced === 'number' ? referenced : 0;
  if (needed <= available) return;
  throw refusal(
    name,
    thick
      ? `a thick volume reserves its ${bytes} bytes, and ${folder} has ${available} available`
      : `the backup took ${needed} bytes, and ${folder} has ${available} available`,
    `free space, raise the quota, choose another pool${thick ? ', or make it thin (--thin)' : ''}`,
  );
}

function isBlockSize(value: unknown): value is number {
  return typeof value === 'number' && value >= 512 && value <= 131_072 && Number.isInteger(Math.log2(value));
}

export function refusal(
  subject: string,
  cause: string,
  hint: string,
  kind: FailureKind = 'failed',
): DatamoverError {
  return new DatamoverError({ operation: OPERATION, subject, cause, hint, kind });
}
