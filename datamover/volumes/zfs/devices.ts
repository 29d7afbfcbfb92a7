import { readFile, realpath, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DatamoverError, isErrno } from '../../errors.ts';
import type { ByteRange, RangeContent, VolumeTarget } from '../driver.ts';
import { readRanges } from '../file/ranges.ts';
import { deviceNumber } from '../file/size.ts';
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
    let cause = '';
    for (const deadline = performance.now() + PATIENCE_MS; performance.now() < deadline;) {
      const doubt = await doubtOf(path, zvol);
      if (doubt === undefined) return path;
      cause = doubt;
      await delay(POLL_MS, undefined, signal && { signal });
    }
    throw refused(zvol, cause);
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

function refused(zvol: string, cause: string): DatamoverError {
  return new DatamoverError({
    operation: 'open ZFS volume',
    subject: zvol,
    cause,
    hint: 'udev makes the link, unless volmode is none; a container needs the /dev of its machine',
  });
}

/**
 * Why the link cannot be taken for the volume's yet; undefined if nothing speaks against it. ZFS alone could say for certain which
 * volume a device is (ioctl BLKZNAME, which is not asked here): the kernel's name tells a zvol from other devices, and udev's
 * record, where this machine has one, tells a link that was left of a volume that is gone or was renamed.
 */
async function doubtOf(path: string, zvol: string): Promise<string | undefined> {
  const stats = await stat(path).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  });
  if (stats?.isBlockDevice() !== true) return `its device ${path} does not appear`;
  const number = deviceNumber(stats);
  const device = await realpath(`/sys/dev/block/${number}`).catch(() => undefined);
  if (device === undefined) return `${path} leads to a device that is gone`;
  const name = basename(device);
  // udev never makes such a link: there is nothing to wait for.
  if (!/^zd\d+$/.test(name)) throw refused(zvol, `${path} leads to ${name}, which is no device of ZFS`);
  const record = await readFile(`/run/udev/data/b${number}`, 'utf8').catch(() => '');
  const links = record.split('\n').filter((line) => line.startsWith('S:zvol/'));
  if (links.length === 0 || links.includes(`S:zvol/${zvol}`)) return undefined;
  return `${path} leads to ${name}, which is of ${links.map((link) => link.slice(7)).join(', ')}`;
}
