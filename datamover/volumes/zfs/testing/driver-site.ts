import { startOpenZfs, type OpenZfs } from '../../../../e2e/servers/openzfs.ts';
import { ZfsDriver } from '../driver.ts';
import { useZfs } from './sending.ts';
import { VmDevices } from './vm-devices.ts';

/** The driver at work on real OpenZFS, with a dataset of its own for a test's volumes. */
export interface DriverSite {
  readonly zfs: OpenZfs;
  readonly driver: ZfsDriver;
  readonly devices: VmDevices;
  /** `POOL/NAME`; gone with all that is in it after `stop`. */
  readonly home: string;
  stop(): Promise<void>;
}

export async function startDriver(name: string): Promise<DriverSite> {
  const zfs = await startOpenZfs();
  useZfs(zfs);
  const devices = await VmDevices.start(zfs);
  const home = `${zfs.pool}/${name}`;
  await zfs.zfs('create', home);
  return {
    ...{ zfs, devices, home, driver: new ZfsDriver({ devices }) },
    stop: async () => {
      await devices.stop();
      await zfs.zfs('destroy', '-R', home);
      await zfs.stop();
    },
  };
}
