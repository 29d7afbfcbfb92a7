import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { DatamoverError, isErrno } from '../../errors.ts';
import type { ByteRange, RangeContent, VolumeTarget } from '../driver.ts';
import { readRanges } from '../file/ranges.ts';
import { FileTarget, planFileTarget } from '../file/target.ts';
import { discardDevice } from './discard.ts';
import { zvolOf } from './zvol-name.ts';

/** Block devices of zvols, where they can be opened. */
export interface ZvolDevices {
  /** Waits until the device is there; gives its path. */
  appear(zvol: string, signal?: AbortSignal): Promise<string>;
  /** Opens what `appear` gave, for nobody else; `empty`: what it had is discarded first. */
  open(path: string, bytes: number, empty: boolean): Promise<VolumeTarget>;
  readRanges(path: string, ranges: readonly ByteRange[], signal?: AbortSignal): AsyncIterable<RangeContent>;
}

/** Where udev has a link for each volume, by its name. */
const FOLDER = '/dev/zvol/';
/** udev makes the link a moment after the volume. */
const PATIENCE_MS = 30_000;
const POLL_MS = 50;

export class LocalDevices implements ZvolDevices {
  async appear(zvol: string, signal?: AbortSignal): Promise<string> {
    const path = `${FOLDER}${zvol}`;
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
    // The device that is held now is the one that is written, wherever the link leads meanwhile.
    const zvol = path.slice(FOLDER.length);
    const doubt = doubtOfName(path, zvolOf(target.fd), zvol);
    if (doubt !== undefined) {
      await target.close();
      throw refused(zvol, doubt);
    }
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
 * Why the link cannot be taken for the volume's yet; undefined if nothing speaks against it. A link may be left of a volume that is
 * gone or was renamed, and its device be another one's by now.
 */
async function doubtOf(path: string, zvol: string): Promise<string | undefined> {
  const device = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    // Neither a link nor, for a moment, the device behind it.
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENXIO')) return undefined;
    throw error;
  });
  if (device === undefined) return `its device ${path} does not appear`;
  try {
    const name = zvolOf(device.fd);
    // udev never makes such a link: there is nothing to wait for.
    if (name === undefined) throw refused(zvol, `${path} leads to what is no device of ZFS`);
    return doubtOfName(path, name, zvol);
  } finally {
    await device.close();
  }
}

function doubtOfName(path: string, name: string | undefined, zvol: string): string | undefined {
  return name === zvol ? undefined : `${path} leads to the device of ${name ?? 'nothing that ZFS knows'}`;
}
