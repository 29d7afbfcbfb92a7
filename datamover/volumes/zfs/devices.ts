import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { DatamoverError, isErrno } from '../../errors.ts';
import type { ByteRange, RangeContent, VolumeTarget } from '../driver.ts';
import { readRanges } from '../file/ranges.ts';
import { FileTarget, planFileTarget } from '../file/target.ts';
import { discardDevice } from './discard.ts';

/** Block devices of zvols, where they can be opened. */
export interface ZvolDevices {
  /** Waits until the device is there; gives its path. */
  appear(zvol: string, signal?: AbortSignal): Promise<string>;
  /** Opens it for nobody else; `empty`: what it had is discarded first. */
  open(path: string, bytes: number, empty: boolean): Promise<VolumeTarget>;
  readRanges(path: string, ranges: readonly ByteRange[], signal?: AbortSignal): AsyncIterable<RangeContent>;
}

/** udev makes the link a moment after the volume. */
const PATIENCE_MS = 30_000;
const POLL_MS = 50;

export class LocalDevices implements ZvolDevices {
  async appear(zvol: string, signal?: AbortSignal): Promise<string> {
    const path = `/dev/zvol/${zvol}`;
    for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline;) {
      if (await isBlockDevice(path)) return path;
      await delay(POLL_MS, undefined, signal && { signal });
    }
    throw new DatamoverError({
      operation: 'open ZFS volume',
      subject: zvol,
      cause: `its device ${path} does not appear`,
      hint: 'udev makes it, unless volmode is none; a container needs the /dev of its machine',
    });
  }

  async open(path: string, bytes: number, empty: boolean): Promise<VolumeTarget> {
    const target = await FileTarget.open(await planFileTarget(path, bytes, true));
    return empty ? withZeros(target, await discardDevice(path)) : withZeros(target, true);
  }

  readRanges(path: string, ranges: readonly ByteRange[], signal?: AbortSignal): AsyncIterable<RangeContent> {
    return readRanges(path, ranges, signal);
  }
}

/** A file target does not know that all of its device is zero. */
function withZeros(target: VolumeTarget, startsAsZeros: boolean): VolumeTarget {
  return {
    order: target.order,
    startsAsZeros,
    write: (position, bytes) => target.write(position, bytes),
    writeZeros: (position, length) => target.writeZeros(position, length),
    finish: () => target.finish(),
    readBack: (signal) => target.readBack(signal),
    close: () => target.close(),
    discard: () => target.discard(),
  };
}

async function isBlockDevice(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isBlockDevice();
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}
