/**
 * A double of /dev/zvol, for our command outside of the machine that has ZFS: `node --import` of this file makes every driver in the process
 * open block devices inside of it, through the driver's own code there. All else of ZFS comes through the proxies on the PATH. The
 * agent and its children inside would be the whole truth, but an emulated machine takes minutes to start them.
 */
import { run } from '../../datamover/process/spawn.ts';
import { setTimeout as delay } from 'node:timers/promises';
import type { ByteRange, VolumeTarget } from '../../datamover/volumes/driver.ts';
import { LocalDevices } from '../../datamover/volumes/zfs/devices.ts';
import { VmDevices } from '../../datamover/volumes/zfs/testing/vm-devices.ts';

const PATIENCE_MS = 120_000;
/** What runs inside opens its devices itself. */
const environment = { NODE_OPTIONS: undefined };

LocalDevices.prototype.appear = async (zvol) => {
  const path = `/dev/zvol/${zvol}`;
  const look = { file: 'vm', args: ['test', '-b', path], accept: [0, 1] };
  for (const deadline = Date.now() + PATIENCE_MS; (await run(look)).status !== 0; await delay(100))
    if (Date.now() > deadline) throw new Error(`${path} does not appear`);
  return path;
};

/** Each has a helper inside of its own: a process must be able to end when its volumes are closed. */
LocalDevices.prototype.open = async (path, bytes, empty) => {
  const devices = await VmDevices.start({ environment });
  const target = await devices.open(path, bytes, empty);
  const ending = (end: () => Promise<void>) => async (): Promise<void> => {
    await end().finally(() => devices.stop());
  };
  const open: VolumeTarget = {
    ...target,
    close: ending(() => target.close()),
    discard: ending(() => target.discard()),
  };
  return open;
};

LocalDevices.prototype.readRanges = async function* (path: string, ranges: readonly ByteRange[]) {
  const devices = await VmDevices.start({ environment });
  try {
    yield* devices.readRanges(path, ranges);
  } finally {
    await devices.stop();
  }
};
